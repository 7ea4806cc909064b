"""Messages to people, and what became of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, FetchedValue, ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.table import Base, by_database


class Delivery(Base):
    """A message that a person should get, once."""

    __tablename__ = "deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    dedupe_key: Mapped[str]
    gift_card_id: Mapped[UUID] = mapped_column(ForeignKey("gift_cards.id"))
    kind: Mapped[str]
    channel: Mapped[str]
    template_id: Mapped[str] = by_database()
    recipient_version: Mapped[int]
    expiry_version: Mapped[int | None]
    days_before: Mapped[int | None]
    state: Mapped[str] = by_database()
    reason: Mapped[str | None]
    provider_id: Mapped[str | None]
    message_id: Mapped[str | None]
    attempts: Mapped[list[dict[str, Any]]] = by_database()
    resends: Mapped[int] = by_database()
    error_class: Mapped[str | None]
    error_code: Mapped[str | None]
    locale: Mapped[str | None]
    template_version: Mapped[str | None]
    segments: Mapped[int | None]
    relay: Mapped[str | None]
    address_hash: Mapped[str | None]
    settled_by: Mapped[str | None]
    job_id: Mapped[UUID | None]
    sending_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = by_database()
    updated_at: Mapped[datetime] = by_database()


class Suppression(Base):
    """An address, by its fingerprint, that must not be written to."""

    __tablename__ = "suppressions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    channel: Mapped[str]
    address_hash: Mapped[str]
    scope: Mapped[str] = by_database()
    reason: Mapped[str]
    delivery_id: Mapped[UUID | None]
    source: Mapped[str | None]
    lifted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = by_database()


class ProviderEvent(Base):
    """What a provider told us, kept until it is applied."""

    __tablename__ = "provider_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    provider: Mapped[str]
    event_id: Mapped[str]
    body: Mapped[dict[str, Any]]
    kind: Mapped[str] = by_database()
    delivery_id: Mapped[UUID | None]
    provider_id: Mapped[str | None]
    address_hash: Mapped[str | None]
    code: Mapped[str | None]
    occurred_at: Mapped[datetime | None]
    received_at: Mapped[datetime] = by_database()
    applied_at: Mapped[datetime | None]


class Breaker(Base):
    """A provider that refuses us: nothing goes to it until a probe gets through."""

    __tablename__ = "breakers"

    provider: Mapped[str] = mapped_column(primary_key=True)
    opened_at: Mapped[datetime] = by_database()
    code: Mapped[str | None]
    said: Mapped[str | None]
    probe_at: Mapped[datetime]
    failures: Mapped[int] = by_database()
    holds: Mapped[str | None]
