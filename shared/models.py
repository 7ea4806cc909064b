"""The tables, for whoever writes to them through SQLAlchemy; ``migrations/`` makes them and holds their rules."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, DateTime, FetchedValue, ForeignKey, Identity, Numeric, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Text, aware times, exact money and JSONB everywhere."""

    type_annotation_map = {
        str: Text(),
        datetime: DateTime(timezone=True),
        Decimal: Numeric(19, 4),
        dict[str, Any]: JSONB(),
        list[dict[str, Any]]: JSONB(),
    }


def _by_database() -> Any:
    """Leave a column out of the INSERT: the database has a default or a trigger for it."""
    return mapped_column(server_default=FetchedValue())


class GiftCard(Base):
    """A card. ``expires_at`` and the versions are derived by triggers; ``balance`` always ends its ledger."""

    __tablename__ = "gift_cards"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    status: Mapped[str] = _by_database()
    currency: Mapped[str]
    balance: Mapped[Decimal]
    code_encrypted: Mapped[str]
    code_last4: Mapped[str]
    expires_on: Mapped[date]
    expires_tz: Mapped[str] = _by_database()
    expires_at: Mapped[datetime] = _by_database()
    expiry_version: Mapped[int] = _by_database()
    recipient_name: Mapped[str | None]
    recipient_email: Mapped[str | None]
    recipient_phone: Mapped[str | None]
    recipient_version: Mapped[int] = _by_database()
    sender_name: Mapped[str | None]
    personal_message: Mapped[str | None]
    locale: Mapped[str] = _by_database()
    time_zone: Mapped[str] = _by_database()
    ledger_sequence: Mapped[int] = _by_database()
    created_at: Mapped[datetime] = _by_database()
    updated_at: Mapped[datetime] = _by_database()


class Transaction(Base):
    """A ledger entry: appended, never changed. Update the card under lock first, then book."""

    __tablename__ = "transactions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    gift_card_id: Mapped[UUID] = mapped_column(ForeignKey("gift_cards.id"))
    sequence: Mapped[int]
    type: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal]
    balance_before: Mapped[Decimal]
    balance_after: Mapped[Decimal]
    expiry_version: Mapped[int | None]
    idempotency_key: Mapped[str]
    job_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = _by_database()


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
    data: Mapped[dict[str, Any]] = _by_database()
    state: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=FetchedValue())
    run_at: Mapped[datetime] = _by_database()
    not_after: Mapped[datetime | None]
    attempt: Mapped[int] = _by_database()
    max_attempts: Mapped[int | None]
    stalls: Mapped[int] = _by_database()
    publishes: Mapped[int] = _by_database()
    epoch: Mapped[int] = _by_database()
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = _by_database()
    dedupe_key: Mapped[str | None]
    gift_card_id: Mapped[UUID | None]
    reason: Mapped[str | None]
    error_type: Mapped[str | None]
    error: Mapped[str | None]
    source: Mapped[str | None]
    worker: Mapped[str | None]
    traceparent: Mapped[str | None]
    enqueued_at: Mapped[datetime] = _by_database()
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Delivery(Base):
    """A message that a person should get, once."""

    __tablename__ = "deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    dedupe_key: Mapped[str]
    gift_card_id: Mapped[UUID] = mapped_column(ForeignKey("gift_cards.id"))
    kind: Mapped[str]
    channel: Mapped[str]
    template_id: Mapped[str] = _by_database()
    recipient_version: Mapped[int]
    expiry_version: Mapped[int | None]
    days_before: Mapped[int | None]
    state: Mapped[str] = _by_database()
    reason: Mapped[str | None]
    provider_id: Mapped[str | None]
    message_id: Mapped[str | None]
    attempts: Mapped[list[dict[str, Any]]] = _by_database()
    resends: Mapped[int] = _by_database()
    error_class: Mapped[str | None]
    error_code: Mapped[str | None]
    job_id: Mapped[UUID | None]
    sending_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _by_database()
    updated_at: Mapped[datetime] = _by_database()


class Suppression(Base):
    """An address, by its fingerprint, that must not be written to."""

    __tablename__ = "suppressions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    channel: Mapped[str]
    address_hash: Mapped[str]
    scope: Mapped[str] = _by_database()
    reason: Mapped[str]
    created_at: Mapped[datetime] = _by_database()


class ProviderEvent(Base):
    """What a provider told us, kept until it is applied."""

    __tablename__ = "provider_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    provider: Mapped[str]
    event_id: Mapped[str]
    body: Mapped[dict[str, Any]]
    received_at: Mapped[datetime] = _by_database()
    applied_at: Mapped[datetime | None]


class Event(Base):
    """A fact for upstream, published from here."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str]
    subject: Mapped[UUID]
    data: Mapped[dict[str, Any]] = _by_database()
    created_at: Mapped[datetime] = _by_database()
    published_at: Mapped[datetime | None]


class QueueControl(Base):
    """What an operator set for a queue, and the next free slot of its rate."""

    __tablename__ = "queue_controls"

    queue: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    pause_reason: Mapped[str | None]
    rate_per_s: Mapped[float | None]
    next_slot_at: Mapped[datetime] = _by_database()


class Schedule(Base):
    """How far a cron line has been fired."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_tick: Mapped[datetime]


class RefreshToken(Base):
    """A sign-in token of the shop."""

    __tablename__ = "refresh_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("refresh_tokens.id"))
    token_hash: Mapped[str]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _by_database()
