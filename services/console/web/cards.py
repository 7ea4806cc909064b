"""Cards: found by id or last four, each with its whole story, and the acts on its gift."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import StringConstraints

from services.console import actions, asking, story, telling, watching
from services.console import cards as record
from services.console.session import Refused
from services.console.web.screens import Act, act, screen
from shared import db
from shared.messages import CancelDelivery, ResendGiftCard

Wanted = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64, pattern=r"^[^\x00]*$")]


@screen("/cards", "cards.html")
def find_cards(
    find: Annotated[Wanted, Query(description="A card's id, or the last four of its code.")] = "",
) -> dict[str, Any]:
    """Find cards; the story comes with it where just one is found."""
    with db.transaction() as connection:
        found = _found(connection, find) if find else []
        told = telling.tell(connection, found[0]["id"]) if len(found) == 1 else None
    return {"find": find, "cards": found, "told": told}


def _found(connection: db.Connection, find: str) -> list[dict[str, Any]]:
    try:
        return [record.look(connection, UUID(find))]
    except (ValueError, Refused):
        return connection.execute(story.LAST4, (find.upper(),)).fetchall()


@screen("/cards/{card}", "card.html")
def card_story(card: UUID) -> dict[str, Any]:
    """Tell a card's whole life in order: what was done, what was not and why, and what is still to come."""
    with db.transaction() as connection:
        return telling.tell(connection, card)


class OfCard(Act):
    """An act on one card."""

    card: UUID


class Resend(OfCard):
    """By which way a gift goes once more."""

    by: Literal["email", "sms"] = "email"


@act
def resend_gift(connection: db.Connection, given: Resend, by: str) -> str:
    """Send a gift once more to its present recipient, although it was sent or has failed."""
    record.look(connection, given.card)
    return asking.ask(connection, ResendGiftCard, given.card, by, given.reason, method=given.by)


@act
def cancel_delivery(connection: db.Connection, given: OfCard, by: str) -> str:
    """Take back whatever of a card's gift has not been sent."""
    record.look(connection, given.card)
    return asking.ask(connection, CancelDelivery, given.card, by, given.reason)


@act
def release_card(connection: db.Connection, given: OfCard, by: str) -> str:
    """Let a card expire whose gift reached nobody."""
    return watching.let_go(connection, str(given.card), by=by, why=given.reason)


@partial(act, once=True)
def show_recipient(connection: db.Connection, given: OfCard, by: str) -> str:
    """Show the whole addresses of a card's recipient, which is kept in the audit."""
    found = record.look(connection, given.card)
    actions.keep(connection, "recipient.shown", str(given.card), by=by, why=given.reason)
    ways = (found["recipient_email"], found["recipient_phone"])
    return " · ".join(way for way in ways if way) or "the card has no address"
