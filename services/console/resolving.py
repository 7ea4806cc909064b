"""Deliveries of which nobody knows whether they arrived, and what an operator who has found out says."""

from __future__ import annotations

from typing import Annotated, Any, LiteralString
from uuid import UUID

import typer

from services.console import actions, tables
from services.console.asking import CHANNELS, ask
from services.console.session import As, AsJson, Limit, Refused, Why, connected, known, operator
from shared import db, facts
from shared.messages import ResendGiftCard

STATES = ["scheduled", "queued", "sending", "sent", "delivered", "bounced", "failed", "unconfirmed"]
STATES += ["suppressed", "skipped", "cancelled"]
OPEN = ("sending", "unconfirmed")
COLUMNS = {
    "id": "delivery",
    "gift_card_id": "card",
    "what": "what",
    "state": "state",
    "needs": "needs",
    "attempted": "attempts",
    "updated_at": "since (UTC)",
}

# Unknown, and no job is left to find out: it is held for an operator. One that was sent again needs nobody any more.
# Those that are held come first, then those of which word is awaited, then the others, the latest first. Two
# indexes give them, so that no page reads all deliveries.
DELIVERIES: LiteralString = """
SELECT d.id, gift_card_id, kind, channel, state, reason, error_class, error_code, relay, resends, settled_by, attempts,
    recipient_version, locale, segments, sending_at, sent_at, updated_at, kind || ' by ' || channel AS what,
    CASE rank WHEN 0 THEN 'an operator: resolve' WHEN 1 THEN 'nothing: it is being found out' END AS needs
FROM (
    SELECT * FROM deliveries WHERE state IN ('sending', 'unconfirmed')
        AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(channel)s::text IS NULL OR channel = %(channel)s)
        AND (%(card)s::uuid IS NULL OR gift_card_id = %(card)s)
    UNION ALL (
        SELECT latest.* FROM unnest(%(settled)s::text[]) AS s (word), unnest(%(channels)s::text[]) AS c (way), LATERAL (
            SELECT * FROM deliveries WHERE state = s.word AND channel = c.way
                AND (%(card)s::uuid IS NULL OR gift_card_id = %(card)s)
            ORDER BY updated_at DESC LIMIT %(limit)s
        ) latest
    )
) d, LATERAL (
    SELECT count(*) AS left FROM jobs j WHERE d.state IN ('sending', 'unconfirmed') AND j.gift_card_id = d.gift_card_id
        AND j.state IN ('scheduled', 'queued', 'running') AND (j.id = d.job_id OR j.data ->> 'delivery_id' = d.id::text)
) jobs, LATERAL (
    SELECT CASE WHEN state NOT IN ('sending', 'unconfirmed') OR reason = 'sent_again' THEN 2
        WHEN reason = 'held' OR jobs.left = 0 THEN 0 ELSE 1 END AS rank
) needs
ORDER BY rank, updated_at DESC LIMIT %(limit)s
"""

# The card first, as a sender locks them.
LOCK_CARD: LiteralString = """
SELECT FROM gift_cards WHERE id = (SELECT gift_card_id FROM deliveries WHERE id = %s) FOR SHARE
"""
LOCK: LiteralString = """
SELECT id, gift_card_id, kind, channel, state, reason, busy, reason = 'held' OR jobs.left = 0 AS held
FROM deliveries d, LATERAL (
    SELECT count(*) AS left, coalesce(bool_or(j.state = 'running' AND j.lease_until > clock_timestamp()), false) AS busy
    FROM jobs j WHERE j.gift_card_id = d.gift_card_id AND j.state IN ('scheduled', 'queued', 'running')
        AND (j.id = d.job_id OR j.data ->> 'delivery_id' = d.id::text)
) jobs WHERE id = %s FOR UPDATE OF d
"""

ARRIVED: LiteralString = """
UPDATE deliveries SET state = 'sent', reason = NULL, settled_by = 'operator', error_class = NULL, error_code = NULL,
    sent_at = coalesce(sent_at, sending_at, clock_timestamp()), updated_at = clock_timestamp(),
    attempts = CASE WHEN attempts = '[]' THEN attempts ELSE jsonb_set(attempts, '{-1}',
        (attempts -> -1) || '{"result": "accepted", "said": "an operator says that it arrived"}') END
WHERE id = %s
"""

# It may have arrived, so it stays unconfirmed, and a late word of its provider still counts.
SENT_AGAIN: LiteralString = """
UPDATE deliveries SET reason = 'sent_again', settled_by = 'operator', updated_at = clock_timestamp() WHERE id = %s
"""


def deliveries(
    state: Annotated[str | None, typer.Option(help=", ".join(STATES))] = None,
    channel: Annotated[str | None, typer.Option(help="email or sms.")] = None,
    card: Annotated[UUID | None, typer.Option(help="Only this gift card's.")] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List messages to people, those of which nobody knows whether they arrived first, with each attempt.

    Example: deliveries --state unconfirmed

    Example: deliveries --card 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08
    """
    given = {"state": known(state, "state", STATES), "channel": known(channel, "channel", CHANNELS), "card": card}
    with connected() as connection:
        rows = find(connection, given, limit)
    if json:
        return tables.as_json(rows)
    shown = [row | {"state": _state(row), "attempted": "\n".join(map(attempt, row["attempts"]))} for row in rows]
    return tables.show(shown, COLUMNS, title="deliveries", empty="none like this")


def find(connection: db.Connection, wanted: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Give deliveries by ``state``, ``channel`` and ``card``, each of which may be None."""
    settled = [state for state in STATES if state not in OPEN and wanted["state"] in (None, state)]
    channels = [channel for channel in CHANNELS if wanted["channel"] in (None, channel)]
    given = {"settled": settled, "channels": channels, "limit": limit}
    return connection.execute(DELIVERIES, wanted | given).fetchall()


def _state(row: dict[str, Any]) -> str:
    return row["state"] if row["reason"] in (None, row["state"]) else f"{row['state']} ({row['reason']})"


def attempt(tried: dict[str, Any]) -> str:
    """Say in one line how an attempt went: when, by whom, with which class and code."""
    words = [tried["at"][:19].replace("T", " "), "again" if tried.get("resend") else None, tried.get("provider")]
    words += [tried.get("result") or "no answer", tried.get("code")]
    return " ".join(filter(None, words))


def resolve(
    delivery: Annotated[UUID, typer.Argument(metavar="DELIVERY", help="A delivery's id, see 'deliveries'.")],
    reason: Why,
    arrived: Annotated[bool, typer.Option("--arrived", help="It did: count it as sent.")] = False,
    send_again: Annotated[bool, typer.Option("--send-again", help="It did not: send the gift once more.")] = False,
    who: As = None,
) -> None:
    """Say of a delivery whose outcome nobody knows what you have found out.

    Example: resolve 0b0f0c5e-6f5e-4d8e-9a2b-1f2d3c4b5a69 --arrived --reason "seen in the provider's log"

    Example: resolve 0b0f0c5e-6f5e-4d8e-9a2b-1f2d3c4b5a69 --send-again --reason "she has nothing"
    """
    if arrived == send_again:
        raise Refused("say either --arrived or --send-again")
    with connected() as connection:
        line = settle(connection, delivery, arrived=arrived, by=operator(who), why=reason)
    tables.say(line)


def settle(connection: db.Connection, delivery: UUID, *, arrived: bool, by: str, why: str) -> str:
    """Say that a delivery whose outcome nobody knows arrived, or have it sent again. Returns what to say.

    Raises:
        Refused: its outcome is known, or is just being found out.
    """
    found = _unknown(connection, delivery)
    if arrived:
        connection.execute(ARRIVED, (delivery,))
        about = {"kind": found["kind"], "channel": found["channel"]}
        facts.tell(connection, "delivery.sent", found["gift_card_id"], delivery_id=str(delivery), **about)
        line = "it counts as sent"
    else:
        line = _send_again(connection, found, by, why)
    answer = {"answer": "arrived" if arrived else "send_again", "was": found["reason"] or found["state"]}
    actions.keep(connection, "delivery.resolved", str(delivery), by=by, why=why, **answer)
    return line


def _unknown(connection: db.Connection, delivery: UUID) -> dict[str, Any]:
    connection.execute(LOCK_CARD, (delivery,))
    found = connection.execute(LOCK, (delivery,)).fetchone()
    if found is None:
        raise Refused(f"no delivery has the id {delivery}")
    if found["state"] not in ("sending", "unconfirmed"):
        raise Refused(f"its outcome is known: it is {found['state']}")
    if found["busy"]:
        raise Refused("a job is sending it, or asking about it, right now: look again in a minute")
    return found


def _send_again(connection: db.Connection, found: dict[str, Any], who: str, reason: str) -> str:
    if found["reason"] == "sent_again":
        raise Refused("it was sent again before: see 'deliveries --card', or 'resend' the card")
    if not found["held"]:
        raise Refused("it is still being found out, and sent again by itself: wait, or say --arrived")
    if found["kind"] != "gift":
        raise Refused(f"only a gift is sent again: a {found['kind']} is not worth a second one; say --arrived")
    connection.execute(SENT_AGAIN, (found["id"],))
    return ask(connection, ResendGiftCard, found["gift_card_id"], who, reason, method=found["channel"])
