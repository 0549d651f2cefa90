"""Prometheus reads the counts of `alignery serve` and of the processes that it starts for its flows.

Each of these writes its counts to a file in a temporary folder of `serve`'s, named by the environment; `serve` adds
them up when it is asked. What a process counted stays when it ended, but for what was on its way.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignery.errors import UsageError
from alignery.monitor import metrics
from alignery.monitor.metrics import ALL, IN_FLIGHT, SECONDS, Metric, Metrics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

FOLDER = "ALIGNERY_METRICS_FOLDER"
EVERY_S = 2.0  # between two writings of a process's counts; our choice


class Writer:
    """Writes this process's counts to the folder that the environment names: now and then, and at the end of a run."""

    def __init__(self, counts: Metrics, folder: Path) -> None:
        self._counts, self._path = counts, folder / f"{os.getpid()}-{uuid.uuid4().hex}.json"
        self._lock = threading.Lock()
        threading.Thread(target=self._keep_writing, name="metrics-writer", daemon=True).start()

    def write(self) -> None:
        """Write all counts; where `serve` has ended meanwhile, there is no folder and nothing to do."""
        with self._lock:
            whole = self._path.with_suffix(".new")
            try:
                whole.write_text(json.dumps({"pid": os.getpid()} | self._counts.snapshot()), encoding="utf-8")
                os.replace(whole, self._path)
            except FileNotFoundError:
                pass

    def _keep_writing(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            self.write()


class Collector:
    """What `serve` shows: its own counts, and those in a folder."""

    def __init__(self, own: Metrics, folder: Path) -> None:
        self._own, self._folder, self._ended = own, folder, Metrics()
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Family]:
        """Called by prometheus_client."""
        with self._lock:
            total = self._total()
        for metric in ALL:
            yield _family(metric, total)

    def _total(self) -> Metrics:
        """Counters of all processes; of gauges the newest, and of ended processes nothing on its way.

        The file of a process that ended is taken in once, and then removed.
        """
        total, alive = Metrics(), []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            written = json.loads(path.read_text(encoding="utf-8"))
            if written["pid"] == os.getpid():
                continue  # which counts by itself
            if _is_alive(written["pid"]):
                alive.append(written)
            else:
                _add(self._ended, written, alive=False)
                path.unlink()
        _add(total, self._own.snapshot())
        _add(total, self._ended.snapshot())
        for written in alive:
            _add(total, written)
        return total


def _add(total: Metrics, written: dict[str, Any], alive: bool = True) -> None:
    kinds = {metric.name: metric.kind for metric in ALL}
    for name, labels, value in written["values"]:
        key = name, tuple(labels)
        if name == IN_FLIGHT.name and not alive:
            continue
        known = total.values.get(key, 0.0) if kinds[name] == "counter" or name == IN_FLIGHT.name else 0.0
        total.values[key] = known + value
    for name, labels, counts in written["histograms"]:
        known_counts = total.histograms.get((name, tuple(labels)), [0.0] * len(counts))
        total.histograms[name, tuple(labels)] = [a + b for a, b in zip(known_counts, counts, strict=True)]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _family(metric: Metric, total: Metrics) -> Family:
    """One metric in Prometheus's own names: `alignery_commit_duration_seconds`, `alignery_lake_size_bytes`."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name = metric.name.replace(".", "_") + {"s": "_seconds", "By": "_bytes"}.get(metric.unit, "")
    if metric.kind == "histogram":
        made = HistogramMetricFamily(name, metric.about, labels=metric.labels)
        for (key, labels), counts in total.histograms.items():
            if key == metric.name:
                bounds, running = [*map(str, SECONDS), "+Inf"], 0.0
                buckets = [(bound, running := running + count) for bound, count in zip(bounds, counts, strict=False)]
                made.add_metric(labels, buckets, counts[-1])
        return made
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.about, labels=metric.labels)
    for labels, value in total.of(metric):
        family.add_metric(labels, value)
    return family


@contextmanager
def served(host: str, port: int) -> Iterator[str]:
    """Answer Prometheus at that address while the block runs; processes that are started in it write their counts.

    Yields the URL. Raises UsageError where the address is not to be had.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    with tempfile.TemporaryDirectory(prefix="alignery-metrics-") as folder:
        registry = CollectorRegistry()
        registry.register(Collector(metrics.watch(), Path(folder)))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise UsageError(
                f"--metrics: got {host}:{port}, which cannot be had ({error.strerror}); give another address"
            ) from error
        os.environ[FOLDER] = folder
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"
        finally:
            del os.environ[FOLDER]
            server.shutdown()
            thread.join()
            server.server_close()


def from_environment() -> Writer | None:
    """The writer of this process, where it was started by a `serve` that Prometheus reads."""
    folder = os.environ.get(FOLDER)
    return Writer(metrics.watch(), Path(folder)) if folder else None
