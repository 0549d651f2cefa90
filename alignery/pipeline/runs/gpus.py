"""The GPUs of this machine: as the driver names them, and as PyTorch can use them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

from alignery.untrusted import excerpt
from warehouse.health.checks import Finding

_GIB = 1 << 30
_PATIENCE_S = 30  # a driver that is not loaded yet takes seconds
_ASKED = ("--query-gpu=name,driver_version", "--format=csv,noheader")


def gpus(*, vllm: bool) -> Iterator[Finding]:
    """GPU, memory, CUDA and driver, or why no GPU can be used.

    Args:
        vllm: whether a model of the preset runs in vLLM, which is made for a GPU.
    """
    listed, fault = _listed_by_driver()
    if fault:
        yield Finding("gpu", "warning", f"nvidia-smi: {fault}", "fix the driver, then check again")
        return
    driver = f", driver {listed[0][1]}" if listed else ""
    if usable := _usable():
        yield Finding("gpu", "ok", "; ".join(usable) + driver, "")
    elif listed:
        names = "; ".join(name for name, _ in listed)
        torch = f"PyTorch {version('torch')}" if find_spec("torch") else "PyTorch, which is not installed,"
        fix = "install PyTorch with CUDA, as locks/gpu.lock names it"
        yield Finding("gpu", "warning", f"{names}{driver}; {torch} cannot use it", fix)
    elif vllm:
        yield Finding("gpu", "warning", "no GPU that PyTorch can use; vLLM runs on the processor, and slowly", "")
    else:
        yield Finding("gpu", "ok", "none; the models of this preset run on the processor", "")


def _listed_by_driver() -> tuple[list[tuple[str, str]], str | None]:
    """Name and driver's version of each GPU that the driver knows, and what went wrong; nothing without a driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return [], None
    try:
        done = subprocess.run([command, *_ASKED], capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {_PATIENCE_S} s"
    except OSError as error:
        return [], excerpt(error, 200)
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if line.count(",")]
    if done.returncode or not rows:
        printed = (done.stdout + done.stderr).strip().splitlines()
        return [], excerpt(printed[0], 200) if printed else f"exit code {done.returncode}, without a message"
    return [(excerpt(name.strip(), 100), excerpt(driver.strip(), 40)) for name, _, driver in rows], None


def _usable() -> list[str]:
    """Name, memory and CUDA's version of each GPU that PyTorch can use."""
    if find_spec("torch") is None:
        return []
    import torch

    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [f"{card.name}, {card.total_memory / _GIB:.0f} GiB, CUDA {torch.version.cuda}" for card in cards]
