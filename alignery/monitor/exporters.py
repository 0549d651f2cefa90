"""The exporters that the environment asks for, started once, when the process's first run begins."""

from __future__ import annotations

from functools import lru_cache

from alignery.monitor import otel, prometheus


@lru_cache(maxsize=1)
def start() -> prometheus.Writer | None:
    """Count, and send what the environment asks for, from now on. Returns the writer of a process of `serve`."""
    otel.from_environment()
    return prometheus.from_environment()


def write() -> None:
    """Hand over what was counted so far to a `serve` that Prometheus reads."""
    if writer := start():
        writer.write()
