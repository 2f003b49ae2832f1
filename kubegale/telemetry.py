"""OpenTelemetry: traces and metrics over OTLP, loaded by OTEL_EXPORTER_OTLP_ENDPOINT alone.

What leaves the process is chosen by name: no address with its query, no SQL text, no key of Redis
and no words of an exception, any of which may hold what is secret.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from celery.signals import worker_process_shutdown
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core import tracing
from kubegale import __version__

# The only attributes that leave the process.
SPAN_ATTRIBUTES = frozenset(
    {
        "celery.action",
        "celery.state",
        "celery.task_name",
        "db.name",
        "db.system",
        "exception.type",
        "http.method",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "http.scheme",
        "http.status_code",
        "messaging.destination",
        "messaging.message.id",
        "net.peer.name",
        "net.peer.port",
        "server.address",
        "server.port",
    }
)
# Fewer for metrics: a value of each is kept for good.
METRIC_ATTRIBUTES = {
    "http.method",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "http.status_code",
    "http.target",
    "task",
}
# Asked by probes, every few seconds.
UNTRACED = "healthz,readyz,metrics,livez,liveness,liveniess,readiness"
PROPAGATOR = TraceContextTextMapPropagator()


class SelectingExporter(SpanExporter):
    """Hands spans on with the attributes of SPAN_ATTRIBUTES alone."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export what may be seen of the spans."""
        return self._exporter.export([select_attributes(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter behind."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter behind."""
        return self._exporter.force_flush(timeout_millis)


def select_attributes(span: ReadableSpan) -> ReadableSpan:
    """The span with the attributes of SPAN_ATTRIBUTES; of exceptions the type remains."""
    events = [
        Event(
            event.name,
            {
                key: value
                for key, value in (event.attributes or {}).items()
                if key in SPAN_ATTRIBUTES
            },
            event.timestamp,
        )
        for event in span.events
    ]
    attributes = span.attributes or {}
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes={key: value for key, value in attributes.items() if key in SPAN_ATTRIBUTES},
        events=events,
        links=span.links,
        kind=span.kind,
        # Its description quotes the exception.
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class OpenTelemetryTracer:
    """Goes on with traces by W3C's `traceparent`."""

    def current(self) -> str:
        """The `traceparent` of the current span; "" when there is none."""
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get("traceparent", "")

    @contextmanager
    def resume(self, name: str, traceparent: str) -> Iterator[None]:
        """A span of that trace; the current one's child without a `traceparent`."""
        parent = PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
        with trace.get_tracer("kubegale").start_as_current_span(name, context=parent):
            yield


def start(process: str) -> None:
    """Instrument the libraries of this process, which the telemetry calls kubegale-`process`.

    Addresses, headers and sampling come from the OTEL_* variables, which the SDK reads itself.
    """
    resource = Resource.create(
        {"service.name": f"kubegale-{process}", "service.version": __version__}
    )
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(SelectingExporter(OTLPSpanExporter())))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    view = View(instrument_name="*", attribute_keys=METRIC_ATTRIBUTES)
    metrics.set_meter_provider(
        MeterProvider(resource=resource, metric_readers=[reader], views=[view])
    )
    # Baggage, the other half of the default, would carry what callers say to clusters.
    set_global_textmap(PROPAGATOR)
    DjangoInstrumentor().instrument(excluded_urls=UNTRACED)
    Psycopg2Instrumentor().instrument()
    RedisInstrumentor().instrument()
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]  # the library forgot
    URLLib3Instrumentor().instrument()
    tracing.install(OpenTelemetryTracer())
    # A worker's process ends without the interpreter's farewell.
    worker_process_shutdown.connect(lambda **_: traces.force_flush(3000), weak=False)
