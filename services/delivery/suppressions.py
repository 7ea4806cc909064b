"""Addresses that must not be written to: why, how far, and since when. They are known by their fingerprints only.

A scope says how far a suppression goes: ``all``; ``reminders`` (an unsubscribe, which never stops a gift);
``from:<number or MG…>`` (STOP, which binds the sender that it was said to).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from services.delivery.addresses import email_address, phone_number
from shared import db, metrics
from shared.errors import Rejected
from shared.messages import hint
from shared.settings import settings

ALL, REMINDERS = "all", "reminders"
SOFT_BOUNCES, SOFT_DAYS = 3, 7

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

AUDIT: LiteralString = "INSERT INTO audit (who, action, subject, reason, details) VALUES (%s, %s, %s, %s, %s)"

# A message counts once, however often it was refused. What came before a suppression was lifted is forgiven.
COUNT_SOFT: LiteralString = """
SELECT count(DISTINCT coalesce(delivery_id::text, provider_id, event_id)) AS count FROM provider_events
WHERE kind = 'soft_bounce' AND address_hash = %(hash)s AND received_at > greatest(
    clock_timestamp() - make_interval(days => %(days)s),
    (SELECT max(lifted_at) FROM suppressions WHERE channel = 'email' AND address_hash = %(hash)s AND scope = 'all'))
"""

NOTE_SOFT: LiteralString = """
INSERT INTO provider_events (provider, event_id, kind, body, delivery_id, address_hash, code, applied_at)
VALUES ('smtp', %(delivery_id)s::text || ':soft', 'soft_bounce', '{}', %(delivery_id)s, %(hash)s, %(code)s,
    clock_timestamp())
ON CONFLICT DO NOTHING
"""

_NORMAL: Mapping[str, Callable[[str], str]] = {"email": email_address, "sms": phone_number}
# reference: RFC 3463 and the IANA registry of enhanced status codes; Twilio's "Error and Warning Dictionary".
_NO_SUCH_MAILBOX = re.compile(r"551\b|5\d\d 5\.(1\.(1|2|3|6|10)|2\.1|4\.4)$|553 5\.1\.")
_MAILBOX_FULL = re.compile(r"(4|5)\d\d [45]\.2\.2$")
_NO_SUCH_PHONE = {"21211", "21401", "21614", "30004", "30005", "30006"}
_SAID_STOP = "21610"


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
    given = {"channel": channel, "hashes": _hashes(channel, address), "scopes": scopes}
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
    return made


def lift(
    connection: db.Connection, channel: str, address: str, *, scope: str = ALL, reason: str | None = None
) -> list[str]:
    """End the suppressions of an address in a scope, and give the reasons they had.

    Parameters:
        reason: only those with this reason; None: whatever it is.
    """
    given = {"channel": channel, "hashes": _hashes(channel, address), "scope": scope, "reason": reason}
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


def from_refusal(
    connection: db.Connection,
    channel: str,
    address: str,
    code: str,
    *,
    sender: str | None = None,
    source: str | None = None,
    delivery_id: UUID | None = None,
) -> str | None:
    """Suppress an address whose refusal means "never again", by its code, and give the reason; None when it does not.

    Parameters:
        code: as in `ProviderError.code`: "550 5.1.1", "21211".
        sender: who was told STOP by code 21610; None: the one of the settings.
        delivery_id: lets a full mailbox count towards the three in seven days, once per delivery.
    """
    about: dict[str, Any] = {"source": source, "delivery_id": delivery_id}
    if code == _SAID_STOP and channel == "sms":
        number = sender or settings().twilio_from
        suppress(connection, channel, address, "stop", scope=f"from:{number}" if number else ALL, **about)
        return "stop"
    if (channel == "sms" and code in _NO_SUCH_PHONE) or (channel == "email" and _NO_SUCH_MAILBOX.match(code)):
        suppress(connection, channel, address, "hard_bounce", **about)
        return "hard_bounce"
    if channel == "email" and _MAILBOX_FULL.match(code) and delivery_id:
        given = {"hash": fingerprint(channel, address), "code": code, "delivery_id": delivery_id}
        connection.execute(NOTE_SOFT, given)
        return count_soft_bounces(connection, address, **about)
    return None


def count_soft_bounces(
    connection: db.Connection, address: str, *, source: str | None = None, delivery_id: UUID | None = None
) -> str | None:
    """Suppress a mailbox in which three messages found no place within seven days; None while it is fewer."""
    given = {"hash": fingerprint("email", address), "days": SOFT_DAYS}
    row = connection.execute(COUNT_SOFT, given).fetchone()
    if not row or row["count"] < SOFT_BOUNCES:
        return None
    suppress(connection, "email", address, "soft_bounces", source=source, delivery_id=delivery_id)
    return "soft_bounces"


def _hashes(channel: str, address: str) -> list[str]:
    # As it is sent to, and as it was written: the record may hold either.
    return list({fingerprint(channel, address), hint(address)})


def _audit(
    connection: db.Connection, action: str, channel: str, address: str, who: str, why: str, details: dict[str, object]
) -> None:
    connection.execute(AUDIT, (who, action, f"{channel}:{fingerprint(channel, address)}", why, Jsonb(details)))
