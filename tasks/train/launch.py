"""Several processes for one training: `accelerate launch`, one process a GPU, on one machine or on several.

Each of several machines runs the same command, and reads the variables that `torchrun` and Kubeflow define: PET_NNODES
(the number of machines), PET_NODE_RANK (its own, from 0), PET_MASTER_ADDR and PET_MASTER_PORT (of machine 0).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from alignery.textfiles import read_yaml
from alignery.untrusted import excerpt
from tasks.train.config import Settings, TrainError

_MACHINES = ("PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
_SHARDED = ("FSDP", "DEEPSPEED")  # Accelerate splits weights on GPUs alone
_KINDS = ("NO", "MULTI_GPU", *_SHARDED)


def processes(config: Settings) -> int:
    """How many processes share the training: as many as the settings say, else one a GPU of each machine, else one."""
    if config.processes is not None:
        return config.processes
    import torch

    return max(1, torch.cuda.device_count()) * machines()


def machines() -> int:
    """How many machines share the training. Raises TrainError where some of the variables are not set."""
    count = os.environ.get(_MACHINES[0], "1")
    if count == "1":
        return 1
    missing = [name for name in _MACHINES if not os.environ.get(name)]
    if missing or not count.isdecimal() or count == "0":
        raise TrainError(
            f"PET_NNODES: got '{excerpt(count, 40)}'{f' and no {missing[0]}' if missing else ''}, expected a number of "
            f"machines, and with it {', '.join(_MACHINES[1:])}; export them on each machine, or unset it"
        )
    return int(count)


def command(count: int | None, arguments: Sequence[str], accelerate: Path | None = None) -> list[str]:
    """The command line that trains in `count` processes of all machines.

    On one machine they use a free port, unless there is a file: its `main_process_port`, or Accelerate's default.

    Args:
        count: None: as many as the file has.
        accelerate: a file that `accelerate config` makes; settings and environment override it.
    """
    options = ["--config_file", str(accelerate)] if accelerate else ["--multi_gpu"]
    options += ["--num_processes", str(count)] if count else []
    if (several := machines()) > 1:
        _, rank, address, port = (os.environ[name] for name in _MACHINES)
        options += ["--num_machines", str(several), "--machine_rank", rank, "--same_network"]
        options += ["--main_process_ip", address, "--main_process_port", port]
    elif not accelerate:
        options += ["--num_machines", "1", "--main_process_port", "0"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # the settings' dtype says which precision
    return [sys.executable, "-P", "-m", "accelerate.commands.launch", *options, "-m", "tasks.train", *arguments]


def become(count: int | None, arguments: Sequence[str], accelerate: Path | None = None) -> None:
    """Replace this process by that command; it does not return. Without CUDA the processes share the CPU.

    Raises:
        TrainError: Accelerate's file cannot be used, or shards weights, for which this machine has no GPU.
    """
    import torch

    kind = _kind(accelerate) if accelerate else "MULTI_GPU"
    os.environ["PYTHONSAFEPATH"] = "1"  # a folder `tasks` in the working directory is not ours
    if not torch.cuda.is_available():
        if kind in _SHARDED:
            raise TrainError(
                f"{accelerate}: distributed_type: got {kind}, but this machine has no GPU, and Accelerate splits "
                "weights on GPUs alone; take MULTI_GPU, whose processes then share the CPU"
            )
        os.environ["ACCELERATE_USE_CPU"] = "true"
    line = command(count, arguments, accelerate)
    os.execv(line[0], line)


def _kind(accelerate: Path) -> str:
    data = read_yaml(accelerate)
    kind = data.get("distributed_type") if isinstance(data, dict) else None
    if kind not in _KINDS:
        got = excerpt(repr(kind), 60)
        raise TrainError(f"{accelerate}: distributed_type: got {got}, expected one of {list(_KINDS)}; correct it")
    return kind


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, killed or not (Linux; elsewhere it stays)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
