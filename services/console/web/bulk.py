"""Acts on many jobs: shown first, confirmed by their number, then watched, and stopped if need be."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AfterValidator, ConfigDict, Field

from services.console import bulk
from services.console.searching import Optional, Search, aware
from services.console.session import Refused
from services.console.web.access import API
from services.console.web.screens import Act, act, router, screen
from shared import db


class Prepare(Search):
    """Which jobs an act is for: those of ``jobs``, or all that match, if ``every``. Nothing is done to them yet."""

    model_config = ConfigDict(extra="ignore")

    act: Literal["retry", "cancel", "promote", "move", "discard"]
    jobs: Annotated[list[UUID], Field(max_length=1000)] = []
    every: bool = False
    run_at: Optional[Annotated[datetime, AfterValidator(aware)]] = Field(None, description="Where to, for a move.")
    per_s: Annotated[int, Field(ge=1, le=1000, description="How many a second.")] = bulk.PER_S


class OfBulk(Act):
    """An act on one of them."""

    bulk: UUID


class Start(OfBulk):
    """A confirmation, by the number of jobs."""

    count: Annotated[int, Field(ge=0, le=bulk.LARGEST)]


@router.post("/acts/prepare_bulk", include_in_schema=False)
def prepare_on_page(request: Request, given: Annotated[Prepare, Form()]) -> Response:
    """Show on a page what would be done."""
    return RedirectResponse(f"/bulk/{_prepare(given, request.state.user.login)}", 303)


@router.post(f"{API}/acts/prepare_bulk", operation_id="prepare_bulk")
def prepare_bulk(request: Request, given: Prepare) -> dict[str, Any]:
    """Prepare an act on many jobs: fix which, and say why it would leave others alone. ``start_bulk`` confirms it."""
    return _show(_prepare(given, request.state.user.login))


@screen("/bulk", "bulks.html")
def list_bulk() -> dict[str, Any]:
    """List the last fifty acts on many jobs."""
    with db.transaction() as connection:
        return {"bulks": connection.execute(bulk.LATEST).fetchall()}


@screen("/bulk/{bulk}", "bulk.html")
def show_bulk(bulk: UUID) -> dict[str, Any]:
    """Show for how many jobs it is, for which not and why, how far it is, and what came of it."""
    try:
        return {"bulk": _show(bulk)}
    except Refused as error:
        raise HTTPException(404, str(error)) from None


@act
def start_bulk(connection: db.Connection, given: Start, by: str) -> str:
    """Confirm it by its number of jobs: it begins at once."""
    return bulk.start(connection, given.bulk, given.count, by=by, why=given.reason)


@act
def abort_bulk(connection: db.Connection, given: OfBulk, by: str) -> str:
    """Stop it where it is: what is done stays done."""
    return bulk.abort(connection, given.bulk, by=by, why=given.reason)


def _prepare(given: Prepare, by: str) -> UUID:
    if not given.every and not given.jobs:
        raise Refused("no job is selected: select some, or take all that match")
    what = given.alone() if given.every else list(dict.fromkeys(given.jobs))
    with db.transaction() as connection:
        return bulk.prepare(connection, given.act, what, by=by, run_at=given.run_at, per_s=given.per_s)


def _show(one: UUID) -> dict[str, Any]:
    with db.transaction() as connection:
        return bulk.show(connection, one)
