"""Messages to people: those first of which nobody knows whether they arrived, with the evidence and two answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query

from services.console import resolving
from services.console.web.screens import Act, act, screen
from shared import db

State = StrEnum("State", {state.upper(): state for state in resolving.STATES})  # type: ignore[misc]


@screen("/deliveries", "deliveries.html")
def list_deliveries(
    state: State | Literal[""] = "",
    channel: Literal["", "email", "sms"] = "",
    card: UUID | Literal[""] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """List deliveries with every attempt. ``needs`` says what each waits for."""
    wanted = {"state": state or None, "channel": channel or None, "card": card or None}
    with db.transaction() as connection:
        rows = resolving.find(connection, wanted, limit)
    shown = [row | {"evidence": [resolving.attempt(tried) for tried in row["attempts"]]} for row in rows]
    return {"deliveries": shown, "wanted": wanted, "limit": limit, "states": resolving.STATES}


class Answer(Act):
    """What an operator has found out about a delivery."""

    delivery: UUID
    answer: Literal["arrived", "send_again"]


@act
def resolve_delivery(connection: db.Connection, given: Answer, by: str) -> str:
    """Say of a delivery whose outcome nobody knows that it arrived, or have the gift sent once more."""
    return resolving.settle(connection, given.delivery, arrived=given.answer == "arrived", by=by, why=given.reason)
