"""The trace that a message belongs to: that of the caller's span, or of the job that makes it.

OpenTelemetry is not loaded here: a program that traces has loaded it, and for all others this is one look into a dict.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

NAME = "giftcard-jobs"  # of the tracer
_of_job: ContextVar[str | None] = ContextVar("traceparent", default=None)


@contextmanager
def carrying(traceparent: str | None) -> Iterator[None]:
    """Let what is made meanwhile belong to a job's trace, also where nobody makes spans."""
    token = _of_job.set(traceparent)
    try:
        yield
    finally:
        _of_job.reset(token)


def current() -> str | None:
    """Give the W3C trace context in which this is called: of the span, else of the job; None outside of both."""
    api = _api()
    return (written(api.get_current_span()) if api else None) or _of_job.get()


def written(span: Any) -> str | None:
    """Write a span's context as a traceparent; None for one that means nothing."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
    return carrier.get("traceparent")


def read(traceparent: str | None) -> Any:
    """Give the context that a traceparent names, for spans to begin in; without one they begin a trace."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {})


def _api() -> Any:
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace  # imported, since another thread may be just loading it

    return trace


class Producing:
    """A span for each message on its way out, all until the end of a ``with``; none where nobody traces.

    Example:
        >>> with Producing() as spans:
        ...     traceparent = spans.begin("email-delivery", "send_gift_card_email", job_id)
    """

    def __init__(self) -> None:
        self._spans: dict[str, Any] = {}

    def begin(self, queue: str, name: str, message_id: object, traceparent: str | None = None) -> str | None:
        """Give the trace context that a message shall carry.

        Parameters:
            name: of the message.
            traceparent: the context it belongs to; None: the current one.
        """
        given = current() if traceparent is None else traceparent
        api = _api()
        if api is None:
            return given
        about = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "send",
            "messaging.operation.name": "publish",
            "messaging.destination.name": queue,
            "messaging.message.id": str(message_id),
            "giftcards.job.name": name,
        }
        kind = api.SpanKind.PRODUCER
        span = api.get_tracer(NAME).start_span(f"publish {queue}", read(given), kind, about)
        self._spans[str(message_id)] = span
        return written(span) or given

    def fail(self, message_id: str, error_type: str) -> None:
        """Say of a message that the broker does not have it."""
        if span := self._spans.get(message_id):
            span.set_attribute("error.type", error_type)
            span.set_status(_api().StatusCode.ERROR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for message_id, span in self._spans.items():
            if kind:
                self.fail(message_id, kind.__name__)
            span.end()
