"""``story``: one card's whole life in order, with the rule behind each thing that was done or was not."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from services.console import cards, tables, why
from services.console import story as record
from services.console.masks import masked
from services.console.resolving import attempt
from services.console.session import AsJson, Refused, connected
from shared import db, suppressions

STORY = {"at": "at (UTC)", "kind": "", "what": "what", "did": "became", "words": "why"}
CARDS = {
    "id": "card",
    "status": "status",
    "balance": "balance",
    "currency": "",
    "expires_on": "last day",
    "created_at": "since",
}


def story(
    card: Annotated[UUID | None, typer.Argument(metavar="[CARD]", help="A gift card's id.")] = None,
    last4: Annotated[str | None, typer.Option(help="Instead: the last four characters of its code.")] = None,
    json: AsJson = False,
) -> None:
    """Tell a card's whole life in order: what was done, what was not and why, and what is still to come.

    Example: story 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08

    Example: story --last4 WXYZ
    """
    if (card is None) == (last4 is None):
        raise Refused("give a card's id, or --last4")
    with connected() as connection:
        if last4:
            found = connection.execute(record.LAST4, (last4,)).fetchall()
            if len(found) != 1:
                return _choose(found, last4, json=json)
            card = found[0]["id"]
        told = tell(connection, card)  # type: ignore[arg-type]  # one of the two is given
    if json:
        return tables.as_json(told)
    tables.show_one(told["card"], title="card")
    tables.show(told["story"] + told["ahead"], STORY, title="story", empty="nothing has happened yet")
    for line in told["answers"]:
        tables.say(line)
    return None


def _choose(found: list[dict[str, Any]], last4: str, *, json: bool) -> None:
    if not found:
        raise Refused(f"no card's code ends with {last4}")
    tables.show(found, CARDS, title=f"cards that end with {last4}; tell one's story by its id", json=json)


def tell(connection: db.Connection, card: UUID) -> dict[str, Any]:
    """Give a card, its story, what lies ahead, and a line for each way its gift was to go.

    Raises:
        Refused: there is no such card, and nothing was ever asked about it.
    """
    found = connection.execute(cards.CARD, (card,)).fetchone()
    rows = record.past(connection, card, _hashes(found))
    ahead = record.ahead(connection, card)
    if found is None and not rows:
        raise Refused(f"there is no card {card}, and no job names it")
    rows = [row | {"words": words(row)} for row in rows]
    ahead = [row | {"words": words(row)} for row in ahead]
    shown = _shown(found) if found else {"id": card, "status": "there is no such card"}
    return {"card": shown, "story": rows, "ahead": ahead + _end(found), "answers": answers(rows, ahead)}


def _hashes(card: dict[str, Any] | None) -> list[str]:
    ways = {"email": "recipient_email", "sms": "recipient_phone"}
    given = [(way, card[column]) for way, column in ways.items() if card and card[column]]
    return [hashed for way, address in given for hashed in suppressions.hashes(way, address)]


def _shown(card: dict[str, Any]) -> dict[str, Any]:
    masks = {name: masked(card[name]) for name in ("recipient_email", "recipient_phone")}
    return {name: value for name, value in (card | masks).items() if name != "now"}


def _end(card: dict[str, Any] | None) -> list[dict[str, Any]]:
    if card is None or card["status"] != "ACTIVE":
        return []
    held = card["expiry_hold"] == "unreached"
    said = "not before an operator releases it, since its gift reached nobody" if held else "unless it is extended"
    row = {"at": card["expires_at"], "kind": "card", "what": "expire", "did": "will", "reason": None, "id": card["id"]}
    return [row | {"facts": {}, "words": f"with {tables.money(card['balance'])} {card['currency']}, {said}"}]


def words(row: dict[str, Any]) -> str:
    """Say one row's why and how in words."""
    facts = row["facts"]
    match row["kind"], row["did"]:
        case "job", "asked for":
            return _asked(facts)
        case "job", "runs":
            return f"attempt {facts['attempt']} of {facts['attempts']}"
        case "job", "tried":
            return f"{_attempts(facts)}: waits, since {why.clause(row['reason'], facts['error'])}"
        case "job", "will":
            return _will(row)
        case "job", _:
            return why.of_job(row)
        case "delivery", "made":
            return _made(facts)
        case "delivery", did if did.startswith("attempt"):
            said = why.clause(None if row["reason"] == "accepted" else row["reason"], facts.get("said"))
            return f"{attempt(facts).partition(' ')[2].partition(' ')[2]}; {said}".rstrip("; ")
        case "delivery", _:
            return why.of_delivery(row)
        case "report", _:
            return " ".join(
                filter(None, (f"by {facts['provider']}", facts["code"], facts["waits"] and "(not applied)"))
            )
        case "suppression", "suppressed":
            return f"not written to: {row['reason']}, says {facts['source'] or 'nobody'}"
        case "suppression", _:
            return f"written to again; was {row['reason']}"
        case "ledger", _:
            return f"balance {facts['balance']}"
    return _act(row)


def _asked(facts: dict[str, Any]) -> str:
    wish = f"{facts['local']} in {facts['zone']}" if facts["local"] else None
    at = f"to run at {facts['run_at']}" if facts["run_at"] else None
    return ", ".join(filter(None, (f"by {facts['source']}" if facts["source"] else None, at, wish)))


def _attempts(facts: dict[str, Any]) -> str:
    return f"attempt {facts['attempt']} of {facts['attempts']}" if facts["attempts"] else f"attempt {facts['attempt']}"


def _will(row: dict[str, Any]) -> str:
    facts = row["facts"]
    wish = f"{facts['local']} in {facts['zone']}" if facts["local"] else None
    waits = f"waits, since {why.clause(row['reason'], facts['error'])}" if row["reason"] else None
    until = f"worthless after {facts['not_after'][:16].replace('T', ' ')}" if facts["not_after"] else None
    return ", ".join(filter(None, (wish, waits, until)))


def _made(facts: dict[str, Any]) -> str:
    version = f"for recipient version {facts['recipient_version']}"
    days = f", {facts['days_before']} days before expiry version {facts['expiry_version']} ends"
    return version + (days if facts["days_before"] is not None else "")


def _act(row: dict[str, Any]) -> str:
    facts = {name: value for name, value in row["facts"].items() if name not in ("job", "worker") and value is not None}
    details = ", ".join(f"{name} {value}" for name, value in facts.items())
    return f"{row['reason']} ({details})" if details else str(row["reason"])


def answers(rows: list[dict[str, Any]], ahead: list[dict[str, Any]]) -> list[str]:
    """Answer "was the gift sent, and if not, why not?" in a line for each way that it was to go."""
    last = {row["id"]: row for row in rows if row["kind"] == "delivery" and not row["did"].startswith("attempt")}
    gifts = [row for row in last.values() if row["what"].startswith("gift by")]
    lines = [f"{row['what']}: {row['words'] if row['did'] != 'made' else 'not sent yet'}" for row in gifts]
    asked = [row for row in rows if row["kind"] == "job" and row["what"] in why.GIFTS and row["words"]]
    ended = [row for row in asked if row["did"] in ("skipped", "failed", "rejected", "cancelled")]
    if not gifts and ended:
        lines.append(f"no gift was sent: the last {ended[-1]['what']} was {ended[-1]['did']}: {ended[-1]['words']}")
    elif not gifts and not any(row["what"] in why.GIFTS for row in ahead):
        lines.append("no gift was sent: nobody asked for it, or the jobs that did were deleted by retention")
    return lines + [
        f"{row['what']} will run at {row['at']:%Y-%m-%d %H:%M:%S} UTC" for row in ahead if row["what"] in why.GIFTS
    ]
