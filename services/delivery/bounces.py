"""Which refusals and bounces mean that an address is not written to again, by the tables of codes."""

from __future__ import annotations

import re
from typing import Any, LiteralString
from uuid import UUID

from shared import db, suppressions
from shared.settings import settings

SOFT_BOUNCES, SOFT_DAYS = 3, 7

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

# RFC 3463 and the IANA registry of enhanced status codes; Twilio's "Error and Warning Dictionary". 5.1.7 and 5.1.8 are
# about the sender's address, so about no recipient.
_NO_SUCH_MAILBOX = re.compile(r"551\b|5\d\d 5\.(1\.(1|2|3|6|10)|2\.1|4\.4)$|553 5\.1\.(?![78]$)")
_MAILBOX_FULL = re.compile(r"(4|5)\d\d [45]\.2\.2$")
_NO_SUCH_PHONE = {"21211", "21401", "21614", "30004", "30005", "30006"}
_SAID_STOP = "21610"


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
        scope = f"from:{number}" if number else suppressions.ALL
        suppressions.suppress(connection, channel, address, "stop", scope=scope, **about)
        return "stop"
    if (channel == "sms" and code in _NO_SUCH_PHONE) or (channel == "email" and _NO_SUCH_MAILBOX.match(code)):
        suppressions.suppress(connection, channel, address, "hard_bounce", **about)
        return "hard_bounce"
    if channel == "email" and _MAILBOX_FULL.match(code) and delivery_id:
        given = {"hash": suppressions.fingerprint(channel, address), "code": code, "delivery_id": delivery_id}
        connection.execute(NOTE_SOFT, given)
        return count_soft_bounces(connection, address, **about)
    return None


def count_soft_bounces(
    connection: db.Connection, address: str, *, source: str | None = None, delivery_id: UUID | None = None
) -> str | None:
    """Suppress a mailbox in which three messages found no place within seven days; None while it is fewer."""
    given = {"hash": suppressions.fingerprint("email", address), "days": SOFT_DAYS}
    row = connection.execute(COUNT_SOFT, given).fetchone()
    if not row or row["count"] < SOFT_BOUNCES:
        return None
    suppressions.suppress(connection, "email", address, "soft_bounces", source=source, delivery_id=delivery_id)
    return "soft_bounces"
