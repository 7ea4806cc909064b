"""Commands on jobs and cards: each says what it did, and keeps who did it and why."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from services.console import bulk, bulk_turns, job_acts, searching, tables
from services.console.session import ByName, IdOrKey, Refused, Why, Zone, connected, known, moment, operator
from shared import db
from shared.messages import MESSAGES

SAYS = {"cancelling": "it runs: it stops at its next step", "retried": "it will run again now"}
SAYS |= {"discarded": "put away: it is out of the list of failures, and stays as it is"}
TOO_LATE = dict.fromkeys(("cancel", "move", "promote"), "has started or ended")
TOO_LATE |= {"retry": "cannot be retried: it has not failed, or was rejected unread"}
TOO_LATE |= {"discard": "cannot be put away: it has not failed, or was put away before"}


def retry(
    reason: Why,
    ids: Annotated[list[UUID] | None, typer.Argument(metavar="[ID]...", help="Jobs' ids.")] = None,
    name: ByName = None,
    every: Annotated[bool, typer.Option("--all", help="All failed ones of --name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how many it would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    per_s: Annotated[int, typer.Option("--per-s", min=1, max=1000, help="So many a second.")] = bulk.PER_S,
) -> None:
    """Run failed jobs again: the same jobs, with their ids, keys and history, and a renewed number of attempts.

    Example: retry 0b0f0c5e-6f5e-4d8e-9a2b-1f2d3c4b5a69 --reason "relay was down"

    Example: retry --name send_gift_card_email --all --reason "relay was down" --dry-run
    """
    if bool(ids) == bool(name and every):
        raise Refused("give the jobs' ids, or --name NAME --all")
    known(name, "message", MESSAGES)
    what = list(dict.fromkeys(ids)) if ids else searching.Search(state="unsuccessful", name=name)
    with connected() as connection:
        one = bulk.prepare(connection, "retry", what, by=operator(), per_s=per_s)
        found = bulk.show(connection, one)
        if ids and (missing := bulk.missing(connection, one, ids)):
            raise Refused(f"no job has the id {', '.join(map(str, missing))}")
        _say_what(found)
        if dry_run or not found["total"]:
            raise typer.Exit(0 if dry_run else 1)  # nothing of it is kept
    if not yes:
        typer.confirm(f"Retry {found['total']}?", abort=True)
    with connected() as connection:
        bulk.start(connection, one, found["total"], by=operator(), why=reason)
    _follow(one, found["total"])


def _say_what(found: dict[str, Any]) -> None:
    left = sum(row["jobs"] for row in found["refusals"])
    tables.say(f"{found['total']} can be retried, {left} cannot")
    for row in found["refusals"]:
        tables.say(f"  {row['jobs']}: {row['refusal']}, such as {row['examples'][0]}")


def _follow(one: UUID, total: int) -> None:
    """Do it from here until it has ended; a console that runs may help, and goes on if this one is stopped."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=total)
        while True:
            bulk_turns.turn(one, connected)
            with connected() as connection:
                found = bulk.show(connection, one)
            progress.update(bar, completed=found["done"])
            if found["state"] != "running":
                break
            time.sleep(0.2)
    done = sum(row["jobs"] for row in found["results"] if row["result"] == "retried")
    tables.say(f"{done} will run again now" + (f"; {found['state']}" if found["state"] != "done" else ""))


def cancel(id_or_key: IdOrKey, reason: Why) -> None:
    """Cancel a job that has not ended; one that runs stops at its next step.

    Example: cancel gift:4711 --reason "order refunded"
    """
    _act("cancel", id_or_key, why=reason)


def move(
    id_or_key: IdOrKey,
    at: Annotated[str, typer.Argument(metavar="TIME", help="ISO 8601, with an offset or with --zone.")],
    reason: Why,
    zone_name: Zone = "UTC",
) -> None:
    """Move a job that has not started to another time.

    Example: move gift:4711 2026-12-25T09:00 --zone Europe/Berlin --reason "her wish"

    Example: move gift:4711 2026-12-25T09:00:00+01:00 --reason "her wish"
    """
    _act("move", id_or_key, run_at=moment(at, zone_name), why=reason)


def promote(id_or_key: IdOrKey, reason: Why) -> None:
    """Run a job now instead of at its time.

    Example: promote gift:4711 --reason "she is waiting"
    """
    _act("promote", id_or_key, why=reason)


def discard(id_or_key: IdOrKey, reason: Why) -> None:
    """Put a failed job away: it stays as it is, and is out of the list of failures.

    Example: discard gift:4711 --reason "refunded by hand"
    """
    _act("discard", id_or_key, why=reason)


def _act(name: str, id_or_key: str, *, run_at: datetime | None = None, why: str) -> None:
    with connected() as connection:
        job = job_acts.job_of(connection, id_or_key)
        line = do(connection, name, job, by=operator(), why=why, run_at=run_at)
    tables.say(line)


def do(connection: db.Connection, name: str, job: UUID, *, by: str, why: str, run_at: datetime | None = None) -> str:
    """Do an act to one job. Returns what to say.

    Raises:
        Refused: it has started, ended or changed.
    """
    [answer] = job_acts.act(connection, name, [job], by=by, why=why, run_at=run_at).values()
    if answer == "too_late":
        raise Refused(f"too late: {job} {TOO_LATE[name]}")
    return "promoted" if name == "promote" else SAYS.get(answer, answer)
