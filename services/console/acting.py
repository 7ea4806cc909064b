"""Commands on jobs and cards: each says what it did, and keeps who did it and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, LiteralString
from uuid import UUID

import typer

from services.console import actions, tables
from services.console.session import ByName, IdOrKey, Refused, Why, Zone, connected, known, moment, operator
from shared.messages import MESSAGES


def retry(
    reason: Why,
    ids: Annotated[list[UUID] | None, typer.Argument(metavar="[ID]...", help="Jobs' ids.")] = None,
    name: ByName = None,
    every: Annotated[bool, typer.Option("--all", help="All failed ones of --name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how many it would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Run failed jobs again: the same jobs, with their ids, keys and history, and a renewed number of attempts.

    Example: retry 0b0f0c5e-6f5e-4d8e-9a2b-1f2d3c4b5a69 --reason "relay was down"

    Example: retry --name send_gift_card_email --all --reason "relay was down" --dry-run
    """
    if bool(ids) == bool(name and every):
        raise Refused("give the jobs' ids, or --name NAME --all")
    with connected() as connection:
        found = actions.candidates(connection, ids, known(name, "message", MESSAGES))
    if missing := set(ids or []) - {row["id"] for row in found}:
        raise Refused(f"no job has the id {', '.join(sorted(map(str, missing)))}")
    eligible = [row["id"] for row in found if row["eligible"]]
    tables.say(f"{len(eligible)} can be retried, {len(found) - len(eligible)} cannot")
    for row in [row for row in found if not row["eligible"]][:20]:
        tables.say(f"  {row['id']} {row['name']}: {_why_not(row['state'], row['reason'])}")
    if dry_run or not eligible:
        raise typer.Exit(0 if dry_run else 1)
    if not yes:
        typer.confirm(f"Retry {len(eligible)}?", abort=True)
    with connected() as connection:
        done = actions.retry(connection, eligible, by=operator(), why=reason)
    tables.say(f"{done} will run again now")


def _why_not(state: str, reason: str | None) -> str:
    return f"rejected unread ({reason}): send it again, mended" if state == "rejected" else f"it is {state}, not failed"


def cancel(id_or_key: IdOrKey, reason: Why) -> None:
    """Cancel a job that has not ended; one that runs stops at its next step.

    Example: cancel gift:4711 --reason "order refunded"
    """
    _act("cancelled", actions.CANCEL, id_or_key, why=reason)


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
    _act("moved", actions.MOVE, id_or_key, run_at=moment(at, zone_name), why=reason)


def promote(id_or_key: IdOrKey, reason: Why) -> None:
    """Run a job now instead of at its time.

    Example: promote gift:4711 --reason "she is waiting"
    """
    _act("promoted", actions.MOVE, id_or_key, why=reason)


def _act(name: str, statement: LiteralString, id_or_key: str, *, run_at: datetime | None = None, why: str) -> None:
    with connected() as connection:
        answer = actions.act(connection, name, statement, id_or_key, run_at=run_at, why=why, by=operator())
    if answer == "too_late":
        raise Refused(f"too late: {id_or_key} has started or ended")
    tables.say({"cancelled": "cancelled", "cancelling": "it runs: it stops at its next step"}.get(answer, name))
