"""Jobs: found by everything at once, each from beginning to end, and what is done to one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import HTTPException, Query, Request
from pydantic import AfterValidator, Field

from services.console import acting, searching, timeline
from services.console.searching import Optional, Search, aware
from services.console.session import Refused
from services.console.web.screens import Act, act, screen
from shared import db
from shared.messages import MESSAGES, QUEUES

CHOICES = {"states": [*searching.WORDS, *searching.STATES], "names": list(MESSAGES), "queues": list(QUEUES)}


class Page(Search):
    """A page of what is found."""

    cursor: Optional[Annotated[str, Field(max_length=200)]] = Field(None, description="As ``next`` of a page gives it.")
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class OfJob(Act):
    """An act on one job."""

    job: UUID


class Move(OfJob):
    """Where a job is moved to; a time without an offset is UTC."""

    run_at: Annotated[datetime, AfterValidator(aware)]


@screen("/jobs", "jobs.html")
def list_jobs(request: Request, wanted: Annotated[Page, Query()]) -> dict[str, Any]:
    """Search jobs, newest first: by when they ended, or are due. Without any filter, all up to now."""
    search = wanted.alone()
    if search == Search() and "state" not in request.query_params:
        search = Search(state="past")
    with db.transaction() as connection:
        rows, following = searching.page(connection, search, limit=wanted.limit, cursor=wanted.cursor)
    given = search.model_dump(mode="json", exclude_none=True)
    return {"jobs": rows, "next": following, "search": given, "limit": wanted.limit, "choices": CHOICES}


@screen("/jobs/{job}", "job.html")
def show_job(job: Annotated[str, Field(max_length=200)]) -> dict[str, Any]:
    """Show one job by its id or key: its attempts, what operators did, its deliveries, why it ended so."""
    try:
        with db.transaction() as connection:
            return {"job": timeline.look(connection, job)}
    except (psycopg.errors.NoDataFound, Refused) as error:
        line = error.diag.message_primary if isinstance(error, psycopg.Error) else str(error)
        raise HTTPException(404, line) from None


@act
def retry_job(connection: db.Connection, given: OfJob, by: str) -> str:
    """Run a failed job again: the same job, with its key and history, and new attempts."""
    return acting.do(connection, "retry", given.job, by=by, why=given.reason)


@act
def cancel_job(connection: db.Connection, given: OfJob, by: str) -> str:
    """Cancel a job that has not ended; one that runs stops at its next step."""
    return acting.do(connection, "cancel", given.job, by=by, why=given.reason)


@act
def promote_job(connection: db.Connection, given: OfJob, by: str) -> str:
    """Run a job now instead of at its time."""
    return acting.do(connection, "promote", given.job, by=by, why=given.reason)


@act
def move_job(connection: db.Connection, given: Move, by: str) -> str:
    """Move a job that has not started to another time."""
    return acting.do(connection, "move", given.job, by=by, why=given.reason, run_at=given.run_at)


@act
def discard_job(connection: db.Connection, given: OfJob, by: str) -> str:
    """Put a failed job away: it stays as it is, and is out of the list of failures."""
    return acting.do(connection, "discard", given.job, by=by, why=given.reason)
