"""Spans, made for one test and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

import services.delivery.actors  # noqa: F401  # registers the actors
from services.scheduler.relay import Relay
from shared import spans, tracing
from shared.enqueue import reschedule
from shared.messages import DeliverGiftCard
from shared.publisher import Publisher
from tests.kinds import Eventually, Issue, StartWorker
from tests.outside import Outside


class Seen:
    """What went out so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> Sequence[ReadableSpan]:
        provider = trace.get_tracer_provider()
        assert isinstance(provider, TracerProvider)
        provider.force_flush()
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def paths(self) -> list[str]:
        """Give the way to each span from the first of its trace, in the order in which they began: ``a > b > c``."""
        known = {span.context.span_id: span for span in self.all() if span.context}

        def path(span: ReadableSpan) -> str:
            above = known.get(span.parent.span_id) if span.parent else None
            return f"{path(above)} > {span.name}" if above else span.name

        return [path(span) for span in sorted(known.values(), key=lambda span: span.start_time or 0)]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, setting: object) -> Iterator[Seen]:
    """Trace this process. OpenTelemetry takes one provider per process; each test has its own."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    exporter = InMemorySpanExporter()
    spans.start("test", exporter)
    yield Seen(exporter)
    tracing.stop()


@pytest.fixture
def gift_for_later(
    seen: Seen,
    publisher: Publisher,
    worker: StartWorker,
    outside: Outside,
    card: Issue,
    database: str,
    eventually: Eventually,
) -> Callable[[str], UUID]:
    """Publish a gift for tomorrow under a traceparent, move it to now, and see it to its mail. Gives the first job."""

    def send(traceparent: str) -> UUID:
        worker("scheduled-delivery", "email-delivery")
        relay = Relay(publisher)
        gift = DeliverGiftCard(gift_card_id=card(), method="email")
        job_id = publisher.send(gift, run_at=datetime.now(UTC) + timedelta(days=1), traceparent=traceparent)
        eventually(lambda: seen.named("process scheduled-delivery"))
        with psycopg.connect(database) as connection:
            reschedule(connection, job_id, datetime.now(UTC))
        eventually(relay.publish_due)
        eventually(lambda: len(seen.named("process scheduled-delivery")) == 2)
        eventually(relay.publish_due)
        eventually(lambda: seen.named("process email-delivery"))
        return job_id

    return send
