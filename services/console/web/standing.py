"""What went wrong, what runs now, and what comes by the clock."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from services.console import queries, reading, steering
from services.console.session import known
from services.console.web.screens import Act, act, screen
from shared import db
from shared.messages import MESSAGES, QUEUES
from shared.settings import settings

# Who runs a job, and has said nothing of itself.
UNHEARD: dict[str, Any] = {"queues": [], "threads": None, "started_at": None, "seen_at": None, "silent": False}


@screen("/failed", "failed.html")
def list_failed(name: Annotated[str, Query(max_length=200)] = "") -> dict[str, Any]:
    """Group failed jobs by name and cause: count, first and last seen, of the newest ``looked_at`` of each queue."""
    with db.transaction() as connection:
        groups = reading.failures(connection, name or None)
    return {"groups": groups, "name": name, "looked_at": reading.LOOKED_AT}


@screen("/workers", "workers.html")
def list_workers() -> dict[str, Any]:
    """List each worker process with what it does now and since when; without ``jobs``, it waits for some.

    ``silent`` ones have said nothing for the length of a lease: they were killed, or cannot reach the database.
    """
    with db.transaction() as connection:
        processes = connection.execute(queries.WORKERS, {"lease_s": settings().lease_s}).fetchall()
        running = connection.execute(queries.RUNNING).fetchall()
    jobs: dict[str, list[Any]] = {worker: list(rows) for worker, rows in groupby(running, lambda row: row["worker"])}
    workers = [row | {"jobs": jobs.pop(row["worker"], [])} for row in processes]
    unheard = [UNHEARD | {"worker": worker or "unknown", "jobs": rows} for worker, rows in jobs.items()]
    return {"workers": workers + unheard, "running": len(running)}


@screen("/schedules", "schedules.html")
def list_schedules(limit: Annotated[int, Query(ge=1, le=200)] = 25) -> dict[str, Any]:
    """Show the timetable with each line's last and next tick, and the jobs that are due next."""
    with db.transaction() as connection:
        lines = reading.timetable(connection)
        soon = connection.execute(queries.SOON, {"queues": list(QUEUES), "limit": limit}).fetchall()
    return {"lines": lines, "soon": soon}


class RunNow(Act):
    """Which message of the timetable is asked for now."""

    name: Annotated[str, Field(max_length=200)]


@act
def run_now(connection: db.Connection, given: RunNow, by: str) -> str:
    """Ask for a job of the timetable now, beside its next tick."""
    return steering.ask_for(connection, str(known(given.name, "message", MESSAGES)), by=by, why=given.reason)
