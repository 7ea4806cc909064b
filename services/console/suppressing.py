"""Addresses that are not written to: put on the list, taken off it, and shown, by their fingerprints only.

An address may be typed when asked for (``-``), which keeps it out of the shell's history.
"""

from __future__ import annotations

from typing import Annotated, Any, LiteralString

import typer

from services.console import tables
from services.console.asking import CHANNELS
from services.console.masks import masked
from services.console.session import As, AsJson, Limit, Refused, Why, connected, known, operator
from shared import db
from shared import suppressions as record
from shared.addresses import email_address, phone_number
from shared.errors import Rejected

Channel = Annotated[str, typer.Argument(metavar="email|sms")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS|-", help="An address or number; -: to be asked for it.")]
CHECK = {"email": email_address, "sms": phone_number}
SCOPES = (record.ALL, record.REMINDERS)
COLUMNS = {
    "channel": "channel",
    "address": "fingerprint",
    "scope": "not written to",
    "reason": "since",
    "source": "says",
    "created_at": "from (UTC)",
    "lifted_at": "until (UTC)",
}

LIST: LiteralString = """
SELECT id, channel, address_hash AS address, scope, reason, source, delivery_id, created_at, lifted_at FROM suppressions
WHERE (%(channel)s::text IS NULL OR channel = %(channel)s)
    AND (%(hashes)s::text[] IS NULL OR address_hash = ANY(%(hashes)s))
    AND (%(lifted)s OR lifted_at IS NULL)
ORDER BY id DESC LIMIT %(limit)s
"""

OTHERS: LiteralString = """
SELECT scope, reason FROM suppressions
WHERE channel = %(channel)s AND address_hash = ANY(%(hashes)s) AND lifted_at IS NULL ORDER BY id
"""


def suppress(
    channel: Channel,
    address: Address,
    reason: Why,
    scope: Annotated[str, typer.Option(help="all, or reminders only.")] = record.ALL,
    who: As = None,
) -> None:
    """Never write to an address again. A gift for it goes the other way, or its purchaser is told.

    Example: suppress email - --reason "asked on the phone"

    Example: suppress sms +447400123456 --scope reminders --reason "asked by letter"
    """
    known(scope, "scope", SCOPES)
    given = _given(channel, address)
    with connected() as connection:
        line = forbid(connection, channel, given, scope, by=operator(who), why=reason)
    tables.say(line)


def forbid(connection: db.Connection, channel: str, given: str, scope: str, *, by: str, why: str) -> str:
    """Never write to an address again. Returns what to say. Raises Refused when it is none."""
    try:
        CHECK[channel](given)
    except Rejected as error:
        raise Refused(f"{error.reason}: {error.detail}") from None
    new = record.suppress_by_hand(connection, channel, given, who=by, why=why, scope=scope)
    return f"{masked(given)} is not written to any more" if new else f"{masked(given)} was suppressed before"


def lift(
    channel: Channel,
    address: Address,
    reason: Why,
    scope: Annotated[str, typer.Option(help="all, reminders, or from:NUMBER of ours that was told STOP.")] = record.ALL,
    who: As = None,
) -> None:
    """Write to an address again. What somebody said about reminders, or STOP to a number, has its own scope.

    Example: lift email - --reason "mailbox exists again"

    Example: lift sms +447400123456 --scope from:+14155550100 --reason "she texted START to support"
    """
    given = _given(channel, address)
    with connected() as connection:
        line = let_write(connection, channel, given, scope, by=operator(who), why=reason)
    tables.say(line)


def let_write(connection: db.Connection, channel: str, given: str, scope: str, *, by: str, why: str) -> str:
    """Write to an address, or a fingerprint, again. Returns what to say.

    Raises:
        Refused: nothing of this scope forbids it.
    """
    lifted = record.lift_by_hand(connection, channel, given, who=by, why=why, scope=scope)
    rows = connection.execute(OTHERS, {"channel": channel, "hashes": record.hashes(channel, given)}).fetchall()
    others = ", ".join(f"{row['reason']} (--scope {row['scope']})" for row in rows)
    if not lifted:
        raise Refused(f"nothing to lift in scope {scope!r}" + (f"; there is {others}" if others else ""))
    left = f"; left: {others}" if others else ""
    return f"{masked(given)} is written to again: was {', '.join(lifted)}{left}"


def suppressions(
    channel: Annotated[str | None, typer.Option(help="email or sms.")] = None,
    address: Annotated[str | None, typer.Option(help="Only this address's; - to be asked for it.")] = None,
    lifted: Annotated[bool, typer.Option("--lifted", help="Those that were lifted, too.")] = False,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List addresses that are not written to, the newest first, by their fingerprints.

    Example: suppressions --channel sms

    Example: suppressions --channel email --address -
    """
    known(channel, "channel", CHANNELS)
    if address and not channel:
        raise Refused("an address is one of a channel: add --channel email or sms")
    hashes = record.hashes(channel, _given(channel, address)) if channel and address else None
    given = {"channel": channel, "hashes": hashes, "lifted": lifted, "limit": limit}
    with connected() as connection:
        rows: list[dict[str, Any]] = connection.execute(LIST, given).fetchall()
    shown = [row | {"address": masked(row["address"])} for row in rows]
    tables.show(shown, COLUMNS, title="suppressions", empty="none", json=json)


def _given(channel: str, address: str) -> str:
    known(channel, "channel", CHANNELS)
    return str(typer.prompt("Address", hide_input=True)).strip() if address == "-" else address
