"""OpenTelemetry: metrics and a trace of each run, exported to the collector that the environment names.

The SDK's own variables apply (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME` …); without an endpoint nothing is
imported and nothing is sent. A run is a span, and within it each chunk, commit and training; requests have none, for
the lake has a row for each. Of an error only the class is sent, for its message may quote a model.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from alignery.monitor import metrics
from alignery.monitor.metrics import ALL, SECONDS, Labels, Metric, Metrics

logger = logging.getLogger(__name__)
_EXPORTER = "OTEL_EXPORTER_OTLP"
_tracer: Any = None  # None: no spans are made
_run: Any = None  # the context of the run's span, the parent of all others


def endpoint(signal: str) -> str | None:
    """The variable that has the endpoint of `METRICS` or `TRACES`; None where these are not to be exported."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp") != "otlp":
        return None
    return next(
        (name for name in (f"{_EXPORTER}_{signal}_ENDPOINT", f"{_EXPORTER}_ENDPOINT") if os.environ.get(name)), None
    )


def from_environment() -> None:
    """Export what the environment asks for, until this process ends."""
    asked = {signal: name for signal in ("METRICS", "TRACES") if (name := endpoint(signal))}
    try:
        if "METRICS" in asked:
            _send_metrics(metrics.watch())
        if "TRACES" in asked:
            _send_traces()
    except ModuleNotFoundError as error:
        logger.warning(
            "%s is set, but %s is not installed: nothing is sent; pip install 'alignery[otel]', or unset it",
            next(iter(asked.values())),
            error.name,
        )


@contextmanager
def span(name: str, is_run: bool = False, **attributes: str | int) -> Iterator[None]:
    """A span with the duration and the status of a part of the run."""
    global _run  # noqa: PLW0603
    if _tracer is None:
        yield
        return
    from opentelemetry import context
    from opentelemetry.trace import Status, StatusCode

    parent = None if is_run else _run
    options: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}
    with _tracer.start_as_current_span(name, context=parent, attributes=attributes, **options) as current_span:
        if is_run:
            _run = context.get_current()
        try:
            yield
        except BaseException as error:
            current_span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _exporter(signal: str, module: str, name: str) -> Any:
    """OTLP over HTTP, or over gRPC where the environment asks for it; its exporter must be installed."""
    protocol = os.environ.get(f"{_EXPORTER}_{signal}_PROTOCOL") or os.environ.get(f"{_EXPORTER}_PROTOCOL", "")
    way = "grpc" if protocol == "grpc" else "http"
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{way}.{module}"), name)()


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": version("alignery")}
    return Resource.create(own if named else own | {"service.name": "alignery"})


def _send_traces() -> None:
    global _tracer  # noqa: PLW0603
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(_exporter("TRACES", "trace_exporter", "OTLPSpanExporter")))
    _tracer = provider.get_tracer("alignery")


def _send_metrics(counts: Metrics) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(_exporter("METRICS", "metric_exporter", "OTLPMetricExporter"))
    observe(counts, MeterProvider(metric_readers=[reader], resource=_resource()))


def observe(counts: Metrics, provider: Any) -> None:
    """Make a meter provider's instruments, which read these metrics."""
    from opentelemetry.metrics import Observation

    meter = provider.get_meter("alignery")
    histograms: dict[str, Any] = {}
    for metric in ALL:
        named: dict[str, Any] = {"unit": metric.unit, "description": metric.about}
        if metric.kind == "histogram":
            histograms[metric.name] = meter.create_histogram(
                metric.name, explicit_bucket_boundaries_advisory=list(SECONDS), **named
            )
            continue

        def read(_: Any, metric: Metric = metric) -> list[Any]:
            return [Observation(value, _named(metric, labels)) for labels, value in counts.of(metric)]

        make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
        make(metric.name, callbacks=[read], **named)
    counts.observers.append(lambda metric, value, labels: histograms[metric.name].record(value, _named(metric, labels)))


def _named(metric: Metric, labels: Labels) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
