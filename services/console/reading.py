"""Commands that look and change nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from apscheduler.triggers.cron import CronTrigger

from services.console import queries, tables, timeline
from services.console.searching import STATES, WORDS, Search, page
from services.console.session import AsJson, ByName, ByQueue, IdOrKey, Limit, Refused, connected, known
from shared import db
from shared.counts import counts as count_jobs
from shared.messages import MESSAGES, QUEUES
from shared.options import CronLine
from shared.settings import settings

# Failed jobs of a queue that are grouped at most: reading more would take longer than somebody waits.
LOOKED_AT = 3_000
COUNTS = {
    "queue": "queue",
    "waiting": "waiting",
    "active": "active",
    "delayed": "delayed",
    "completed": "completed",
    "failed": "failed",
    "oldest_due_s": "oldest due, s",
    "rate_per_s": "rate, 1/s",
    "paused": "paused",
}
JOBS = {
    "id": "id",
    "name": "name",
    "state": "state",
    "reason": "reason",
    "attempt": "tries",
    "at": "ended or due (UTC)",
}
FAILED = {
    "jobs": "jobs",
    "name": "name",
    "reason": "reason",
    "error": "error",
    "last": "last (UTC)",
    "example": "an example",
}
REJECTED = {
    "finished_at": "at (UTC)",
    "name": "name",
    "source": "from",
    "reason": "reason",
    "error": "mend",
    "id": "id",
}
SCHEDULE = {
    "name": "name",
    "cron": "cron",
    "zone": "zone",
    "missed": "missed",
    "last_tick": "last (UTC)",
    "next": "next (UTC)",
}


def counts(json: AsJson = False) -> None:
    """Count the jobs of each queue, and show what is paused and how fast each may go.

    Example: counts --json
    """
    with connected() as connection:
        rows = queues(connection)
        brakes = connection.execute(queries.BRAKES).fetchall()
    tables.show(rows, COUNTS, title="queues", json=json)
    for brake in [] if json else brakes:
        due = brake["details"]
        tables.say(
            f"the {brake['name']} brake is pulled since {brake['pulled_at']:%Y-%m-%d %H:%M}: "
            f"{due['cards']} cards are due, {due['limit']}; look, then: release brake --reason …"
        )


def queues(connection: db.Connection, most: int | None = None) -> list[dict[str, Any]]:
    """Count the jobs of each queue, with what operators set for it: ``rate_per_s``, and ``paused`` in words.

    Parameters:
        most: where each count stops; None: never.
    """
    controls = {row["queue"]: row for row in connection.execute(queries.CONTROLS)}
    return [row | _control(row["queue"], controls.get(row["queue"], {})) for row in count_jobs(connection, most)]


def _control(queue: str, control: dict[str, Any]) -> dict[str, Any]:
    since = control.get("paused_at")
    paused = f"since {since:%Y-%m-%d %H:%M} by {control['paused_by']}: {control['pause_reason']}" if since else None
    return {"paused": paused, "rate_per_s": control.get("rate_per_s") or settings().queues[queue].rate_per_s}


def jobs(
    state: Annotated[str | None, typer.Option(help=f"{', '.join(STATES)}, or {', '.join(WORDS)}.")] = None,
    name: ByName = None,
    queue: ByQueue = None,
    card: Annotated[UUID | None, typer.Option(help="Only this gift card's.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those that ended so, such as redeemed.")] = None,
    error: Annotated[
        str | None, typer.Option(help="Only those whose error has this text; 3 characters or more.")
    ] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: jobs --state delayed --queue scheduled-delivery

    Example: jobs --state skipped --reason redeemed --limit 10

    Example: jobs --state failed --error "connection refused"
    """
    given: dict[str, Any] = {"state": known(state, "state", [*STATES, *WORDS]), "queue": known(queue, "queue", QUEUES)}
    given |= {"name": known(name, "message", MESSAGES), "card": card, "reason": reason, "error": error}
    with connected() as connection:
        rows, _ = page(connection, Search.model_validate(given), limit=limit)
    tables.show(rows, JOBS, title="jobs", empty="none like this", json=json)


def job(id_or_key: IdOrKey, json: AsJson = False) -> None:
    """Show one job, whole, and what operators did to it.

    Example: job 0b0f0c5e-6f5e-4d8e-9a2b-1f2d3c4b5a69

    Example: job cron:cleanup_expired_tokens:2026-11-24T02:00:00
    """
    with connected() as connection:
        row = timeline.look(connection, id_or_key)
    if json:
        return tables.as_json(row)
    return tables.show_one(row, title=f"{row['name']}: {row['state']}")


def failed(name: ByName = None, json: AsJson = False) -> None:
    """Show failed jobs by name and cause.

    Example: failed --name send_gift_card_sms
    """
    with connected() as connection:
        rows = failures(connection, known(name, "message", MESSAGES))
    tables.show(rows, FAILED, title="failed", json=json)


def failures(connection: db.Connection, name: str | None = None) -> list[dict[str, Any]]:
    """Give groups of failed jobs by name and cause: of the newest ``LOOKED_AT`` of each queue, or of the name."""
    given = {"queues": list(QUEUES), "name": name, "newest": LOOKED_AT}
    of = queries.FAILED_OF_NAME if name else queries.FAILED_OF_QUEUES
    return connection.execute(queries.FAILED.replace("{failed}", of), given).fetchall()


def rejected(limit: Limit = 50, json: AsJson = False) -> None:
    """Show rejected messages, newest first, each with what its sender must mend.

    Example: rejected --limit 10
    """
    with connected() as connection:
        rows = connection.execute(queries.REJECTED, {"limit": limit}).fetchall()
    tables.show(rows, REJECTED, title="rejected", json=json)


def schedule(json: AsJson = False) -> None:
    """Show the timetable: each cron line, its last tick and its next.

    Example: schedule
    """
    with connected() as connection:
        rows = timetable(connection)
    tables.show(rows, SCHEDULE, title="schedule", json=json)


def timetable(connection: db.Connection) -> list[dict[str, Any]]:
    """Give each cron line with ``last_tick``, ``next`` and ``overdue``: ticks that have come and were not fired."""
    ticks = {row["name"]: row["last_tick"] for row in connection.execute(queries.TICKS)}
    [clock] = connection.execute("SELECT clock_timestamp() AS now").fetchall()
    return [
        {"name": name, **line.model_dump(), "last_tick": ticks.get(name)}
        | {"next": _next(line, clock["now"]), "overdue": _overdue(line, ticks.get(name), clock["now"])}
        for name, line in settings().timetable.items()
    ]


def _overdue(line: CronLine, last: datetime | None, now: datetime) -> int:
    """Count the ticks since the last one, up to a hundred."""
    missed = 0
    while last and missed < 100 and (last := _next(line, last + timedelta(seconds=1))) and last <= now:
        missed += 1
    return missed


def _next(line: CronLine, now: datetime) -> datetime | None:
    try:
        fires: datetime | None = CronTrigger.from_crontab(line.cron, ZoneInfo(line.zone)).get_next_fire_time(None, now)
    except (ValueError, KeyError, OSError):
        raise Refused(f"the timetable has a wrong line: {line.cron!r} in {line.zone!r}") from None
    return fires.astimezone(now.tzinfo) if fires else None
