"""The endpoint /metrics: the metrics of `alignery serve`, and of the processes that it starts for its flows.

Each of these writes its metrics to a file in a temporary folder of `serve`, whose path is in the environment; a scrape
sums them up. What a process counted is kept after its end, without its requests in flight. (prometheus_client's own
multiprocess mode would have to be chosen before Prefect imports it, and would take Prefect's metrics in.)
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """Writes this process's metrics to the folder that the environment names: every EVERY_S, and at a run's end."""

    def __init__(self, counts: Metrics, folder: Path) -> None:
        self._counts, self._path = counts, folder / f"{os.getpid()}-{uuid.uuid4().hex}.json"
        self._lock = threading.Lock()
        threading.Thread(target=self._keep_writing, name="metrics-writer", daemon=True).start()

    def write(self) -> None:
        """Write all metrics; after the end of `serve` there is no folder, and nothing is written."""
        with self._lock:
            draft = self._path.with_suffix(".new")
            with suppress(FileNotFoundError):
                draft.write_text(json.dumps({"pid": os.getpid()} | self._counts.snapshot()), encoding="utf-8")
                os.replace(draft, self._path)

    def _keep_writing(self) -> None:
        while True:
            time.sleep(EVERY_S)
            self.write()


class Collector:
    """The metrics of `serve` itself, and those in the folder."""

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
        """Counters are summed over all processes, requests in flight over living ones; other gauges are the newest.

        The file of a process that ended is added to `_ended` once, and then removed.
        """
        total, alive = Metrics(), []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            written = json.loads(path.read_text(encoding="utf-8"))
            if written["pid"] == os.getpid():
                continue  # `_own` has its metrics
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
        histogram = HistogramMetricFamily(name, metric.about, labels=metric.labels)
        for (key, labels), counts in total.histograms.items():
            if key == metric.name:
                bounds, running = [*map(str, SECONDS), "+Inf"], 0.0
                buckets = [(bound, running := running + count) for bound, count in zip(bounds, counts, strict=False)]
                histogram.add_metric(labels, buckets, counts[-1])
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.about, labels=metric.labels)
    for labels, value in total.of(metric):
        family.add_metric(labels, value)
    return family


@contextmanager
def served(host: str, port: int) -> Iterator[str]:
    """Serve /metrics at that address while the block runs; processes that are started in it write their metrics.

    Yields the URL. Raises UsageError where the server cannot listen at the address.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    with tempfile.TemporaryDirectory(prefix="alignery-metrics-") as folder:
        registry = CollectorRegistry()
        registry.register(Collector(metrics.watch(), Path(folder)))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise UsageError(
                f"--metrics: got {host}:{port}, where no server can listen ({error.strerror}); give another address"
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
    """The writer of this process, where it was started by a `serve` with /metrics."""
    folder = os.environ.get(FOLDER)
    return Writer(metrics.watch(), Path(folder)) if folder else None
