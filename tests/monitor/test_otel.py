"""OpenTelemetry: without an endpoint nothing is imported; with one a collector gets counts and a trace, and no text."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

from alignery.monitor import metrics, otel

ROOT = Path(__file__).parents[2]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
WALK = """
import sys
from pathlib import Path
sys.path[:0] = ["tests/monitor", "tests/helpers"]
from test_prometheus import walk
from warehouse import Lake
with Lake.open(Path(sys.argv[1])) as lake:
    walk(lake, 3, "yes it is", "bad", "bad", "no")
"""


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=own | environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_without_an_endpoint_nothing_is_imported() -> None:
    code = "from alignery.monitor import exporters; exporters.start(); import sys; print(*sys.modules)"
    done = run(code, OTEL_SERVICE_NAME="one", OTEL_METRICS_EXPORTER="otlp")
    assert "alignery.monitor.otel" in done.stdout, done.stderr
    assert "opentelemetry" not in done.stdout.replace("alignery.monitor.otel", "")
    assert "prometheus_client" not in done.stdout


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({}, []),
        ({ENDPOINT: "http://c"}, ["METRICS", "TRACES"]),
        ({ENDPOINT: "http://c", "OTEL_SDK_DISABLED": "true"}, []),
        ({ENDPOINT: "http://c", "OTEL_TRACES_EXPORTER": "none"}, ["METRICS"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, ["TRACES"]),
    ],
)
def test_what_is_sent_is_what_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sent: list[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert [signal for signal in ("METRICS", "TRACES") if otel.endpoint(signal)] == sent


def test_an_endpoint_without_the_extra_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setattr(metrics, "_counts", None)
    for name in ("opentelemetry.sdk", "opentelemetry.sdk.metrics"):
        monkeypatch.setitem(sys.modules, name, None)
    with caplog.at_level(logging.WARNING):
        otel.from_environment()
    (message,) = caplog.messages
    assert message.startswith(f"{ENDPOINT} is set, but opentelemetry.sdk")
    assert "pip install 'alignery[otel]'" in message


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """A collector's OTLP over HTTP: its URL, and the bodies by path."""
    got: dict[str, list[bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


@pytest.mark.flow
def test_a_collector_gets_counts_and_a_trace(home: Path, collector: tuple[str, dict[str, list[bytes]]]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, got = collector
    done = run(WALK, str(home), **{ENDPOINT: url})
    assert (done.returncode, done.stderr) == (0, "")
    (resource,) = ExportMetricsServiceRequest.FromString(got["/v1/metrics"][-1]).resource_metrics
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "alignery"
    found = {one.name: one for scope in resource.scope_metrics for one in scope.metrics}
    assert found.keys() == {metric.name for metric in metrics.ALL}
    states = {
        {one.key: one.value.string_value for one in point.attributes}["state"]: point.as_double
        for point in found["alignery.requests"].sum.data_points
    }
    assert states == {"accepted": 1, "unparsed": 2, "rejected": 1}
    assert found["alignery.requests"].sum.is_monotonic
    (commits,) = found["alignery.commit.duration"].histogram.data_points
    assert list(commits.explicit_bounds) == list(metrics.SECONDS)
    assert commits.count >= 1
    spans = {
        span.span_id: span
        for body in got["/v1/traces"]
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    (top,) = [span for span in spans.values() if not span.parent_span_id]
    assert top.name == "alignery.refresh"
    below = [span for span in spans.values() if span is not top]
    assert {span.name for span in below} == {"alignery.chunk", "alignery.commit"}
    assert {span.parent_span_id for span in below} == {top.span_id}
    whole = b"".join(body for bodies in got.values() for body in bodies)
    assert b"alignery" in whole
    assert b"yes it is" not in whole
    assert b"thing 0" not in whole


@pytest.mark.flow
def test_a_collector_that_is_gone_harms_no_run(home: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    done = run(WALK, str(home), **{ENDPOINT: f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    assert done.returncode == 0, done.stderr


@pytest.mark.flow
def test_a_span_of_what_failed_names_the_error_and_not_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(otel, "_tracer", provider.get_tracer("t"))
    monkeypatch.setattr(otel, "_run", None)
    with pytest.raises(ValueError, match="WORDS"), otel.span("alignery.refresh", is_run=True, run_id="r"):
        raise ValueError("WORDS OF A MODEL")
    (span,) = kept.get_finished_spans()
    assert "WORDS" not in span.to_json()
    assert (span.status.is_ok, span.status.description) == (False, "ValueError")
