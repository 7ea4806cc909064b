"""Addresses that must not be written to: why, how far, and since when. They are known by their fingerprints only.

A scope says how far a suppression goes: ``all``; ``reminders`` (an unsubscribe, which never stops a gift);
``from:<number or MG…>`` (STOP, which binds the sender that it was said to).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from shared import db, metrics
from shared.addresses import email_address, phone_number
from shared.errors import Rejected
from shared.messages import hint

ALL, REMINDERS = "all", "reminders"

FIND: LiteralString = """
SELECT reason FROM suppressions
WHERE channel = %(channel)s AND address_hash = ANY(%(hashes)s) AND scope = ANY(%(scopes)s) AND lifted_at IS NULL
ORDER BY scope = 'all' DESC, id LIMIT 1
"""

# The gravest reason stays, whichever was told first.
ADD: LiteralString = """
INSERT INTO suppressions AS s (channel, address_hash, scope, reason, delivery_id, source)
VALUES (%(channel)s, %(hash)s, %(scope)s, %(reason)s, %(delivery_id)s, %(source)s)
ON CONFLICT (channel, address_hash, scope) WHERE lifted_at IS NULL DO UPDATE
SET reason = excluded.reason, source = excluded.source, delivery_id = coalesce(excluded.delivery_id, s.delivery_id)
WHERE array_position(%(order)s, excluded.reason) > array_position(%(order)s, s.reason)
RETURNING id
"""
GRAVITY = ["soft_bounces", "unsubscribe", "stop", "hard_bounce", "complaint", "manual"]

LIFT: LiteralString = """
UPDATE suppressions SET lifted_at = clock_timestamp()
WHERE channel = %(channel)s AND address_hash = ANY(%(hashes)s) AND scope = %(scope)s AND lifted_at IS NULL
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
RETURNING id, reason
"""

# Upstream knows cards, and never an address; a suppression by hand is of no card.
TELL: LiteralString = """
INSERT INTO events (type, subject, data)
SELECT 'recipient.suppressed', gift_card_id,
    jsonb_build_object('channel', %(channel)s::text, 'scope', %(scope)s::text, 'reason', %(reason)s::text)
FROM deliveries WHERE id = %(delivery_id)s
"""

AUDIT: LiteralString = "INSERT INTO audit (who, action, subject, reason, details) VALUES (%s, %s, %s, %s, %s)"

_NORMAL: Mapping[str, Callable[[str], str]] = {"email": email_address, "sms": phone_number}


def fingerprint(channel: str, address: str) -> str:
    """Give the fingerprint of an address in the form in which it is sent to, so that spellings of one are one."""
    if address != hint(address):
        try:
            return hint(_NORMAL[channel](address))
        except (Rejected, ValueError):
            return hint(address)
    return address


def suppression(
    connection: db.Connection, channel: str, address: str, *, kind: str, sender: str | None = None
) -> str | None:
    """Say why a message must not be sent to an address, or None.

    Parameters:
        kind: of the delivery: gift, reminder or notice.
        sender: the number or messaging service (MG…) that it would come from; None for e-mail.
    """
    scopes = [ALL, *([REMINDERS] if kind == "reminder" else []), *([f"from:{sender}"] if sender else [])]
    given = {"channel": channel, "hashes": hashes(channel, address), "scopes": scopes}
    row = connection.execute(FIND, given).fetchone()
    return row["reason"] if row else None


def suppress(
    connection: db.Connection,
    channel: str,
    address: str,
    reason: str,
    *,
    scope: str = ALL,
    source: str | None = None,
    delivery_id: UUID | None = None,
) -> bool:
    """Suppress an address, or its fingerprint. Returns False when it is so already, for this or a graver reason.

    Parameters:
        reason: hard_bounce, soft_bounces, complaint, stop, unsubscribe or manual.
        source: who said so: a provider, a link, a person.
    """
    given = {
        "channel": channel,
        "hash": fingerprint(channel, address),
        "scope": scope,
        "reason": reason,
        "source": source,
        "delivery_id": delivery_id,
        "order": GRAVITY,
    }
    made = connection.execute(ADD, given).fetchone() is not None
    if made:
        metrics.suppressed.labels(channel, reason).inc()
        connection.execute(TELL, given)
    return made


def lift(
    connection: db.Connection, channel: str, address: str, *, scope: str = ALL, reason: str | None = None
) -> list[str]:
    """End the suppressions of an address in a scope, and give the reasons they had.

    Parameters:
        reason: only those with this reason; None: whatever it is.
    """
    given = {"channel": channel, "hashes": hashes(channel, address), "scope": scope, "reason": reason}
    return [row["reason"] for row in connection.execute(LIFT, given)]


def suppress_by_hand(
    connection: db.Connection, channel: str, address: str, *, who: str, why: str, scope: str = ALL
) -> bool:
    """Suppress an address on somebody's word, which is kept in the audit; see `suppress`."""
    made = suppress(connection, channel, address, "manual", scope=scope, source=who)
    _audit(connection, "suppress", channel, address, who, why, {"scope": scope, "made": made})
    return made


def lift_by_hand(
    connection: db.Connection, channel: str, address: str, *, who: str, why: str, scope: str = ALL
) -> list[str]:
    """End suppressions on somebody's word, which is kept in the audit; see `lift`."""
    lifted = lift(connection, channel, address, scope=scope)
    _audit(connection, "lift_suppression", channel, address, who, why, {"scope": scope, "lifted": lifted})
    return lifted


def hashes(channel: str, address: str) -> list[str]:
    """Give the fingerprints of an address, as it is sent to and as it was written: the record may hold either."""
    return list({fingerprint(channel, address), hint(address)})


def _audit(
    connection: db.Connection, action: str, channel: str, address: str, who: str, why: str, details: dict[str, object]
) -> None:
    connection.execute(AUDIT, (who, action, f"{channel}:{fingerprint(channel, address)}", why, Jsonb(details)))
