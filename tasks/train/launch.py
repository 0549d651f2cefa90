"""Several processes for one training: `accelerate launch`, one process a GPU."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from tasks.train.config import Settings


def processes(config: Settings) -> int:
    """How many processes share the training: as many as the settings say, else one a GPU, else one."""
    if config.processes is not None:
        return config.processes
    import torch

    return max(1, torch.cuda.device_count())


def command(count: int, arguments: Sequence[str]) -> list[str]:
    """The command line that trains in `count` processes of this machine; a free port is found for them to meet at."""
    options = ["--multi_gpu", "--num_processes", str(count), "--num_machines", "1", "--main_process_port", "0"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # the settings' dtype says which precision
    return [sys.executable, "-P", "-m", "accelerate.commands.launch", *options, "-m", "tasks.train", *arguments]


def become(count: int, arguments: Sequence[str]) -> None:
    """Replace this process by that command; it does not return. Without CUDA the processes share the CPU."""
    import torch

    os.environ["PYTHONSAFEPATH"] = "1"  # a folder `tasks` where the user stands is not ours
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
    line = command(count, arguments)
    os.execv(line[0], line)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, killed or not (Linux; elsewhere it stays)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
