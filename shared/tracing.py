"""The spans of a worker: one for each run of a job, one for each call of a provider. Off, they cost nothing.

SQL and HTTP have spans of OpenTelemetry's own instrumentations, see ``shared.spans``, which alone loads OpenTelemetry.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from shared import logs
from shared.traceparent import carrying, read
from shared.wire import Envelope

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

# As OpenTelemetry calls them: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

tracer: Tracer | None = None  # None: off


def start(service: str) -> None:
    """Send spans to where OpenTelemetry's own variables say; without them, or disabled by them, do nothing.

    Call it after any fork. Where its packages are missing, that is told, and jobs run on without spans.

    Parameters:
        service: what this process is called, unless ``OTEL_SERVICE_NAME`` says it.
    """
    given = [name for name in ENDPOINTS if os.environ.get(name)]
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not given or disabled or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return
    try:
        from shared import spans
    except ImportError as error:
        advice = f"{given[0]} is set: install the dependency group `tracing` of pyproject.toml, or unset it"
        logs.get().warning("tracing_off", missing=error.name, advice=advice)
        return
    spans.start(service)
    logs.get().info("tracing", service=service)


def stop() -> None:
    """Send the spans that are left, and make no more."""
    if tracer:
        sys.modules["shared.spans"].stop()


def processing(envelope: Envelope) -> AbstractContextManager[object]:
    """Continue the trace of a message while it is run; whatever that makes belongs to the same trace, traced or not."""
    if tracer is None:
        return carrying(envelope.traceparent)
    from opentelemetry.trace import SpanKind

    about = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": envelope.routing_key,
        "messaging.message.id": str(envelope.id),
        "giftcards.job.name": envelope.message.name,
    }
    return tracer.start_as_current_span(
        f"process {envelope.routing_key}", read(envelope.traceparent), SpanKind.CONSUMER, about, record_exception=False
    )


def tell(outcome: str, reason: str | None = None, attempt: int | None = None) -> None:
    """Say on the run's span how it ended."""
    if tracer is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    about = {"giftcards.job.outcome": outcome, "giftcards.job.reason": reason, "giftcards.job.attempt": attempt}
    span = get_current_span()
    span.set_attributes({name: value for name, value in about.items() if value is not None})
    if outcome in ("failed", "rejected"):
        span.set_status(StatusCode.ERROR)


@contextmanager
def calling(protocol: str, host: str, port: int) -> Iterator[None]:
    """Make a span of a call for which no library makes one."""
    if tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind, StatusCode

    about: dict[str, str | int] = {"network.protocol.name": protocol, "server.address": host, "server.port": port}
    with tracer.start_as_current_span(protocol.upper(), kind=SpanKind.CLIENT, attributes=about) as span:
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", str(getattr(error, "error_class", type(error).__name__)))
            span.set_status(StatusCode.ERROR)
            raise
