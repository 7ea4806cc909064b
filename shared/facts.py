"""Facts for upstream: written to the outbox in the transaction of what they tell, published by the scheduler."""

from __future__ import annotations

from typing import Any, LiteralString, Protocol
from uuid import UUID

from psycopg.types.json import Jsonb

from shared import db
from shared.events import EXCHANGE, EventEnvelope
from shared.packets import Packet

KEPT_DAYS = 30  # after a fact was published

TELL: LiteralString = "INSERT INTO events (type, subject, data) VALUES (%s, %s, %s)"


class Delivered(Protocol):
    """What a fact about a delivery says of it."""

    @property
    def id(self) -> UUID:
        """Name it."""

    @property
    def kind(self) -> str:
        """Say whether it is a gift, a reminder or a notice."""

    @property
    def channel(self) -> str:
        """Say which way it went."""


def tell(connection: db.Connection, fact: str, card_id: UUID, **data: str) -> None:
    """Put a fact about a card into the outbox: ids and words only."""
    connection.execute(TELL, (fact, card_id, Jsonb(data)))


def tell_of(connection: db.Connection, fact: str, card_id: UUID, delivery: Delivered, **data: str) -> None:
    """Put a fact about a delivery into the outbox."""
    tell(connection, fact, card_id, delivery_id=str(delivery.id), kind=delivery.kind, channel=delivery.channel, **data)


def packet(row: dict[str, Any], *, queue: str | None = None) -> Packet:
    """Write the CloudEvents document of a row of ``events``, for everybody who listens or for one queue alone."""
    envelope = EventEnvelope(
        id=str(row["id"]),
        type=row["type"],
        subject=row["subject"],
        time=row["created_at"],
        sequence=f"{row['id']:020d}",
        subjectsequence=row["number"],
        data=row["data"],
    )
    body = envelope.model_dump_json().encode()
    return Packet(queue or envelope.type, body, envelope.id, exchange="" if queue else EXCHANGE)
