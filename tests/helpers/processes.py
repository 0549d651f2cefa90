"""Processes told from all others by the Prefect home in their environment: whoever is started by one has it too."""

from __future__ import annotations

import time
from pathlib import Path


def started_in(prefect_home: Path) -> list[str]:
    """The command of every live process with this home."""
    mark = f"PREFECT_HOME={prefect_home}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def gone(prefect_home: Path, within_s: float) -> bool:
    """Whether all of them end in time."""
    end = time.monotonic() + within_s
    while (left := started_in(prefect_home)) and time.monotonic() < end:
        time.sleep(0.5)
    return not left
