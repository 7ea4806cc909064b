"""Addresses that are not written to, by their fingerprints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import StringConstraints

from services.console import suppressing
from services.console.masks import masked
from services.console.web.screens import Act, act, screen
from shared import db

Channel = Literal["email", "sms"]
Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=320)]


@screen("/suppressions", "suppressions.html")
def list_suppressions(
    channel: Literal["", "email", "sms"] = "",
    lifted: bool = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """List addresses that are not written to, the newest first. ``address`` is a fingerprint."""
    wanted = {"channel": channel or None, "hashes": None, "lifted": lifted, "limit": limit}
    with db.transaction() as connection:
        rows = connection.execute(suppressing.LIST, wanted).fetchall()
    shown = [row | {"shown": masked(row["address"])} for row in rows]
    return {"suppressions": shown, "channel": channel, "lifted": lifted, "limit": limit}


class Suppress(Act):
    """An address that is not to be written to any more."""

    channel: Channel
    address: Address
    scope: Literal["all", "reminders"] = "all"


class Lift(Act):
    """An address, or its fingerprint, that may be written to again."""

    channel: Channel
    address: Address
    scope: Annotated[str, StringConstraints(max_length=100)] = "all"


@act
def suppress_address(connection: db.Connection, given: Suppress, by: str) -> str:
    """Never write to an address again."""
    return suppressing.forbid(connection, given.channel, given.address, given.scope, by=by, why=given.reason)


@act
def lift_suppression(connection: db.Connection, given: Lift, by: str) -> str:
    """Write to an address again."""
    return suppressing.let_write(connection, given.channel, given.address, given.scope, by=by, why=given.reason)
