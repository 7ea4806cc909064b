"""What holds things back by itself or by hand: breakers, the expiry brake, suppressions; and letting go."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, LiteralString
from uuid import UUID

import typer

from services.console import actions, tables
from services.console.session import As, AsJson, Refused, Why, connected, operator
from shared import db
from shared.dry_run import dry_run

# The relay is woken, since what it held may go.
PROBE: LiteralString = """
WITH woken AS (SELECT pg_notify('jobs_due', ''))
UPDATE breakers SET probe_at = clock_timestamp() FROM woken WHERE provider = %s RETURNING provider
"""

BREAKERS: LiteralString = """
SELECT provider, opened_at, code, said, failures, probe_at, holds FROM breakers ORDER BY opened_at
"""

HELD: LiteralString = """
SELECT currency, count(*) AS cards, sum(balance) AS amount FROM gift_cards WHERE expiry_hold = 'unreached'
GROUP BY currency ORDER BY currency
"""

BRAKE: LiteralString = "SELECT pulled_at, released_at, released_by, reason FROM brakes WHERE name = 'expiry'"

BREAKER_COLUMNS = {
    "provider": "provider",
    "opened_at": "open since (UTC)",
    "failures": "refusals",
    "code": "code",
    "said": "said",
    "probe_at": "next probe (UTC)",
    "holds": "rests",
}
DUE_COLUMNS = {
    "currency": "currency",
    "cards": "cards due",
    "amount": "money",
    "held_cards": "held",
    "held": "money held",
}


def breakers(json: AsJson = False) -> None:
    """Show the providers that refuse us, since when, why, and when each is tried again.

    Example: breakers
    """
    with connected() as connection:
        rows = connection.execute(BREAKERS).fetchall()
    tables.show(rows, BREAKER_COLUMNS, title="open breakers", empty="none is open", json=json)


def brake(json: AsJson = False) -> None:
    """Show what a sweep of expiry would do now, whether it would stop, and what is held since its gift reached nobody.

    Example: brake
    """
    with connected() as connection:
        found = dry_run(connection)
        held = {row["currency"]: row for row in connection.execute(HELD)}
        pulled = connection.execute(BRAKE).fetchone()
    if json:
        return tables.as_json(found | {"held": list(held.values()), "brake": pulled})
    currencies = sorted(found["amounts"].keys() | held.keys())
    tables.show([_row(c, found, held.get(c, {})) for c in currencies], DUE_COLUMNS, title="due", empty="no card is due")
    return tables.say(_verdict(found, pulled))


def _row(currency: str, found: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    due = found["cards_by_currency"].get(currency, 0)
    amount = tables.money(Decimal(found["amounts"].get(currency, 0)))
    held_amount = tables.money(held["amount"]) if held else None
    return {
        "currency": currency,
        "cards": due,
        "amount": amount,
        "held_cards": held.get("cards"),
        "held": held_amount,
    }


def _verdict(found: dict[str, Any], pulled: dict[str, Any] | None) -> str:
    if pulled and pulled["released_at"]:
        return f"released by {pulled['released_by']}: {pulled['reason']}; the next sweep goes through"
    if not found["limit"]:
        return "the next sweep goes through"
    since = f"stands since {pulled['pulled_at']:%Y-%m-%d %H:%M} UTC" if pulled else "will stop the next sweep"
    return f"the brake {since}: {found['cards']} cards, {found['limit']}; look, then: release brake --reason …"


def release(
    what: Annotated[str, typer.Argument(metavar="brake|breaker|CARD", help="What holds something back.")],
    reason: Why,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The breaker's provider.")] = None,
    who: As = None,
) -> None:
    """Let a sweep go on that stopped, a card expire whose gift reached nobody, or a provider be tried again now.

    Example: release brake --reason "campaign of 2021 ends, checked with finance"

    Example: release breaker smtp:relay.example.com:587 --reason "new password is set"

    Example: release 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08 --reason "buyer was told twice"
    """
    if (what == "breaker") != (name is not None):
        raise Refused("release breaker NAME; 'breakers' shows the names" if what == "breaker" else f"what is {name!r}?")
    with connected() as connection:
        line = let_go(connection, what, name, by=operator(who), why=reason)
    tables.say(line)


def let_go(connection: db.Connection, what: str, name: str | None = None, *, by: str, why: str) -> str:
    """Release ``brake``, ``breaker`` with its provider's name, or a card by its id. Returns what to say.

    Raises:
        Refused: nothing of this holds anything back.
    """
    if name:
        if not connection.execute(PROBE, (name,)).rowcount:
            raise Refused(f"no breaker of {name!r} is open; 'breakers' shows those that are")
        actions.keep(connection, "breaker.released", name, by=by, why=why)
        return "the next message is its probe: if it gets through, all goes on"
    if what == "brake":
        done = connection.execute(actions.RELEASE_BRAKE, {"by": by, "why": why}).rowcount
    else:
        done = connection.execute(actions.RELEASE_CARD, {"card": _card(what)}).rowcount
    if not done:
        raise Refused("the brake is not pulled" if what == "brake" else f"no card {what} is held")
    actions.keep(connection, "expiry.released", what, by=by, why=why)
    return "released: the next sweep takes it"


def _card(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused(f"{text!r} is neither 'brake' nor 'breaker' nor a card's id") from None
