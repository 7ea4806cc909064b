"""The record of deliveries: one row per message that a person should get, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from services.delivery.providers import Accepted, ProviderError
from shared import db
from shared.cards import Card
from shared.jobs import Job

_COLUMNS: LiteralString = """
id, kind, channel, template_id, recipient_version, expiry_version, state, resends, job_id, sending_at, settled_by,
CASE WHEN kind = 'notice' THEN (
    SELECT g.channel || ':' || coalesce(g.error_class, g.reason, g.state) FROM deliveries g
    WHERE g.gift_card_id = %(card_id)s AND g.kind = 'gift' AND g.state NOT IN ('sent', 'delivered')
    ORDER BY g.updated_at DESC LIMIT 1) END AS undelivered_because,
clock_timestamp() AS now, EXISTS (
    SELECT FROM jobs o WHERE o.id = job_id AND o.id <> %(job_id)s AND o.state = 'running'
        AND o.lease_until > clock_timestamp()) AS busy
"""

BY_ID: LiteralString = (
    "SELECT" + _COLUMNS + "FROM deliveries WHERE id = %(delivery_id)s AND gift_card_id = %(card_id)s FOR UPDATE"
)

# One gift per card, recipient and channel, whoever asks for it and however often.
GIFT: LiteralString = (
    """
INSERT INTO deliveries AS d (dedupe_key, gift_card_id, kind, channel, template_id, recipient_version, job_id)
VALUES ('gift:' || %(card_id)s || ':r' || %(recipient_version)s || ':' || %(channel)s, %(card_id)s, 'gift', %(channel)s,
        %(template_id)s, %(recipient_version)s, %(job_id)s)
ON CONFLICT (dedupe_key) DO UPDATE SET updated_at = clock_timestamp() RETURNING"""
    + _COLUMNS
)

START: LiteralString = """
UPDATE deliveries SET state = 'sending', reason = NULL, sending_at = clock_timestamp(), updated_at = clock_timestamp(),
    settled_by = NULL,
    recipient_version = %(recipient_version)s, job_id = %(job_id)s, message_id = %(message_id)s,
    address_hash = %(address_hash)s, locale = %(locale)s, template_version = %(template_version)s,
    segments = %(segments)s,
    resends = resends + %(resend)s,
    attempts = attempts || jsonb_build_object('at', clock_timestamp(), 'resend', %(resend)s::integer::boolean)
WHERE id = %(id)s AND state = %(state)s AND sending_at IS NOT DISTINCT FROM %(sending_at)s
"""

# What the provider said goes to the attempt that asked, the last one. What a report has told meanwhile stays.
END: LiteralString = """
UPDATE deliveries SET state = %(state)s, reason = %(reason)s, updated_at = clock_timestamp(),
    provider_id = coalesce(%(provider_id)s, provider_id), relay = coalesce(%(relay)s, relay),
    settled_by = coalesce(%(settled_by)s, settled_by), error_class = %(error_class)s, error_code = %(error_code)s,
    sent_at = CASE WHEN %(state)s = 'sent' THEN clock_timestamp() ELSE sent_at END,
    attempts = CASE WHEN %(result)s::jsonb IS NULL OR attempts = '[]' THEN attempts
        ELSE jsonb_set(attempts, '{-1}', (attempts -> -1) || %(result)s::jsonb) END
WHERE id = %(id)s AND NOT (state IN ('sent', 'delivered', 'bounced')
    OR (state = 'failed' AND %(state)s IN ('sent', 'unconfirmed')))
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery under lock. ``busy`` says that another job is at it now; times are aware UTC."""

    id: UUID
    kind: str
    channel: str
    template_id: str
    recipient_version: int
    expiry_version: int | None
    state: str
    resends: int
    job_id: UUID | None
    sending_at: datetime | None
    settled_by: str | None
    undelivered_because: str | None
    now: datetime
    busy: bool

    @property
    def outcome_unknown(self) -> bool:
        """Say whether an attempt began whose end nobody knows."""
        return self.state in ("sending", "unconfirmed")


def find(connection: db.Connection, job: Job, card: Card, delivery_id: UUID) -> Delivery | None:
    """Lock a delivery of this card by its id."""
    given = {"delivery_id": delivery_id, "card_id": card.id, "job_id": job.id}
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(BY_ID, given).fetchone()


def gift(connection: db.Connection, job: Job, card: Card, channel: str, template_id: str) -> Delivery:
    """Lock the one delivery of this card's gift to its present recipient over a channel, made if need be."""
    given = {
        "card_id": card.id,
        "recipient_version": card.recipient_version,
        "channel": channel,
        "template_id": template_id,
        "job_id": job.id,
    }
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        row = cursor.execute(GIFT, given).fetchone()
    assert row is not None  # noqa: S101  # the statement always returns its row
    return row


def start(connection: db.Connection, job: Job, delivery: Delivery, card: Card, **about: str | int | None) -> bool:
    """Write down that an attempt begins, before anything leaves the house; False when another job was first.

    Parameters:
        about: ``message_id``, ``address_hash``, ``locale``, ``template_version`` and ``segments`` of what is sent.
    """
    given = {
        **about,
        "id": delivery.id,
        "recipient_version": card.recipient_version,
        "job_id": job.id,
        "resend": int(delivery.outcome_unknown),
        "state": delivery.state,
        "sending_at": delivery.sending_at,
    }
    return connection.execute(START, given).rowcount == 1


def end(
    connection: db.Connection,
    delivery: Delivery,
    state: str,
    reason: str | None = None,
    *,
    result: Accepted | ProviderError | None = None,
    provider: str | None = None,
    settled_by: str | None = None,
) -> None:
    """Write down how a delivery stands, and what which provider said."""
    refused = result if isinstance(result, ProviderError) else None
    given = {
        "id": delivery.id,
        "state": state,
        "reason": reason,
        "provider_id": result.provider_id if isinstance(result, Accepted) else None,
        "relay": provider,
        "settled_by": settled_by,
        "error_class": refused.error_class.value if refused else None,
        "error_code": refused.code if refused else None,
        "result": Jsonb(_facts(result) | {"provider": provider}) if result else None,
    }
    connection.execute(END, given)


def _facts(result: Accepted | ProviderError) -> dict[str, Any]:
    if isinstance(result, Accepted):
        return {"result": "accepted", "provider_id": result.provider_id, "said": result.detail}
    return {"result": result.error_class.value, "code": result.code, "said": result.excerpt}


def address(card: Card, delivery: Delivery) -> str | None:
    """Give the person a delivery is for: the recipient, or the purchaser of a notice."""
    return card.purchaser_email if delivery.kind == "notice" else card.address(delivery.channel)
