"""The record of jobs, and what steers it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, FetchedValue, Identity, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.table import Base, by_database


class MessageType(Base):
    """What may be asked for through the SQL door."""

    __tablename__ = "message_types"

    name: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    schema: Mapped[dict[str, Any]]


class JobKey(Base):
    """A business key and the job that has it, for ever."""

    __tablename__ = "job_keys"

    dedupe_key: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    name: Mapped[str]
    fingerprint: Mapped[str]


class JobRow(Base):
    """One job: see docs/job_states.md. Written by ``enqueue`` and ``shared.jobs`` alone."""

    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    name: Mapped[str]
    queue: Mapped[str]
    data: Mapped[dict[str, Any]] = by_database()
    state: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=FetchedValue())
    run_at: Mapped[datetime] = by_database()
    not_after: Mapped[datetime | None]
    attempt: Mapped[int] = by_database()
    max_attempts: Mapped[int | None]
    stalls: Mapped[int] = by_database()
    publishes: Mapped[int] = by_database()
    epoch: Mapped[int] = by_database()
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = by_database()
    dedupe_key: Mapped[str | None]
    gift_card_id: Mapped[UUID | None]
    reason: Mapped[str | None]
    error_type: Mapped[str | None]
    error: Mapped[str | None]
    source: Mapped[str | None]
    worker: Mapped[str | None]
    traceparent: Mapped[str | None]
    enqueued_at: Mapped[datetime] = by_database()
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    discarded_at: Mapped[datetime | None]


class QueueControl(Base):
    """What an operator set for a queue, and the next free slot of its rate."""

    __tablename__ = "queue_controls"

    queue: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    pause_reason: Mapped[str | None]
    rate_per_s: Mapped[float | None]
    next_slot_at: Mapped[datetime] = by_database()


class Schedule(Base):
    """How far a cron line has been fired."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_tick: Mapped[datetime]


class Event(Base):
    """A fact for upstream, published from here."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str]
    subject: Mapped[UUID]
    data: Mapped[dict[str, Any]] = by_database()
    created_at: Mapped[datetime] = by_database()
    published_at: Mapped[datetime | None]
    number: Mapped[int | None] = mapped_column(BigInteger)


class Wiretap(Base):
    """How far the stream of copies is read (``position``), and until when all copies have rows; one row."""

    __tablename__ = "wiretap"

    single: Mapped[bool] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    settled_until: Mapped[datetime]
    reader: Mapped[str | None]
    lease_until: Mapped[datetime]


class EventSequence(Base):
    """How far the facts of one subject are counted."""

    __tablename__ = "event_sequences"

    subject: Mapped[UUID] = mapped_column(primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger)
