"""The exporters that the environment asks for, started once, when the process's first run begins."""

from __future__ import annotations

from functools import lru_cache

from alignery.monitor import otel, prometheus


@lru_cache(maxsize=1)
def start() -> prometheus.Writer | None:
    """Start the exporters that the environment asks for. Returns the writer of a process that `serve` started."""
    otel.from_environment()
    return prometheus.from_environment()


def write() -> None:
    """Write this process's metrics for the `serve` that started it, if one with /metrics did."""
    if writer := start():
        writer.write()
