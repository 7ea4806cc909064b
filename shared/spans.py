"""OpenTelemetry, set up for a process that traces: what makes spans, which are kept, and what of them goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, Status

from shared import tracing
from shared.settings import settings
from shared.traceparent import NAME

INSTRUMENTORS = (PsycopgInstrumentor(), RequestsInstrumentor())
URLS = {"http.url", "url.full", "http.target"}
QUERIES = {"url.query"}


class WithinTraces(Sampler):
    """Leave out the statements of no job, such as a heartbeat's each second; of all else the variables decide."""

    def __init__(self, given: Sampler) -> None:
        self._given = given

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        *args: Any,
        **kw: Any,
    ) -> SamplingResult:
        """Drop a call that nobody's span has made."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if kind is SpanKind.CLIENT and not parent.is_valid:
            return SamplingResult(Decision.DROP)
        return self._given.should_sample(parent_context, trace_id, name, kind, *args, **kw)

    def get_description(self) -> str:
        """Name it."""
        return f"WithinTraces({self._given.get_description()})"


class Discreet(SpanExporter):
    """Let out no text of errors and no query of a URL: both may repeat an address, a telephone number or a code."""

    def __init__(self, to: SpanExporter) -> None:
        self._to = to

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans on, without that."""
        return self._to.export([_discreet(span) for span in spans])

    def shutdown(self) -> None:
        """Send no more."""
        self._to.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is left."""
        return self._to.force_flush(timeout_millis)


def _discreet(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: _cut(name, value) for name, value in (span.attributes or {}).items() if name not in QUERIES},
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _cut(name: str, value: Any) -> Any:
    return urlsplit(value)._replace(query="", fragment="").geturl() if name in URLS else value


def start(service: str, exporter: SpanExporter | None = None) -> None:
    """Make spans from now on, and send them in batches from a thread of their own.

    Parameters:
        exporter: where to; None: over OTLP to where the variables say.
    """
    provider = TracerProvider(resource=_resource(service))
    provider.sampler = WithinTraces(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(Discreet(exporter or OTLPSpanExporter())))
    trace.set_tracer_provider(provider)
    for instrumentor in INSTRUMENTORS:
        instrumentor.instrument(tracer_provider=provider)
    tracing.tracer = provider.get_tracer(NAME)


def stop() -> None:
    """Send the spans that are left, and make no more."""
    tracing.tracer = None
    for instrumentor in INSTRUMENTORS:
        instrumentor.uninstrument()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


def _resource(service: str) -> Resource:
    """Describe this process; what the variables say goes first."""
    ours = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: settings().build_version})
    return ours.merge(OTELResourceDetector().detect())
