"""Commands that change something: each says what it did, and keeps who did it and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, LiteralString
from uuid import UUID

import typer
from pydantic import ValidationError

from services.console import actions, tables
from services.console.session import ByName, IdOrKey, Queue, Refused, connected, known, operator
from shared.enqueue import enqueue
from shared.messages import MESSAGES, QUEUES, Message, Priority, PruneHistory
from shared.wall_time import instant, zone

Why = Annotated[str, typer.Option("--reason", help="Why; kept with what you do. No names or addresses.")]
MaybeWhy = Annotated[str | None, typer.Option("--reason", help="Why; kept with what you do.")]
Zone = Annotated[str, typer.Option("--zone", help="IANA zone of a TIME without an offset.")]


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


def cancel(id_or_key: IdOrKey, reason: MaybeWhy = None) -> None:
    """Cancel a job that has not ended; one that runs stops at its next step.

    Example: cancel gift:4711 --reason "order refunded"
    """
    _act("cancelled", actions.CANCEL, id_or_key, why=reason)


def move(
    id_or_key: IdOrKey,
    at: Annotated[str, typer.Argument(metavar="TIME", help="ISO 8601, with an offset or with --zone.")],
    zone_name: Zone = "UTC",
    reason: MaybeWhy = None,
) -> None:
    """Move a job that has not started to another time.

    Example: move gift:4711 2026-12-25T09:00 --zone Europe/Berlin

    Example: move gift:4711 2026-12-25T09:00:00+01:00
    """
    _act("moved", actions.MOVE, id_or_key, run_at=_time(at, zone_name), why=reason)


def promote(id_or_key: IdOrKey, reason: MaybeWhy = None) -> None:
    """Run a job now instead of at its time.

    Example: promote gift:4711
    """
    _act("promoted", actions.MOVE, id_or_key, why=reason)


def _act(
    name: str, statement: LiteralString, id_or_key: str, *, run_at: datetime | None = None, why: str | None
) -> None:
    with connected() as connection:
        answer = actions.act(connection, name, statement, id_or_key, run_at=run_at, why=why, by=operator())
    if answer == "too_late":
        raise Refused(f"too late: {id_or_key} has started or ended")
    tables.say({"cancelled": "cancelled", "cancelling": "it runs: it stops at its next step"}.get(answer, name))


def _time(text: str, zone_name: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
        return given.astimezone(UTC) if given.tzinfo else instant(given, zone(zone_name))
    except ValueError as error:
        raise Refused(f"{text!r} is no time: {error}; write 2026-12-25T09:00 with --zone, or with an offset") from None


def pause(queue: Queue, reason: Why) -> None:
    """Stop a queue: nothing more of it starts, within two seconds; what runs goes on.

    Example: pause email-delivery --reason "provider incident"
    """
    known(queue, "queue", QUEUES)
    with connected() as connection:
        connection.execute(actions.PAUSE, {"queue": queue, "by": operator(), "why": reason})
        actions.keep(connection, "queue.paused", queue, by=operator(), why=reason)
    tables.say(f"{queue} is paused: what runs goes on, nothing more starts")


def resume(queue: Queue, reason: MaybeWhy = None) -> None:
    """Let a paused queue go on.

    Example: resume email-delivery
    """
    known(queue, "queue", QUEUES)
    with connected() as connection:
        if was_paused := connection.execute(actions.RESUME, {"queue": queue}).rowcount:
            actions.keep(connection, "queue.resumed", queue, by=operator(), why=reason)
    tables.say(f"{queue} goes on" if was_paused else f"{queue} was not paused")


def rate(
    queue: Queue,
    per_s: Annotated[str, typer.Argument(metavar="N|default", help="Job starts a second, all workers.")],
    reason: MaybeWhy = None,
) -> None:
    """Limit how many jobs of a queue start each second over all workers, from the next job on.

    Example: rate sms-delivery 2.5

    Example: rate sms-delivery default
    """
    known(queue, "queue", QUEUES)
    try:
        value = None if per_s == "default" else float(per_s)
    except ValueError:
        raise Refused(f"{per_s!r} is no rate: give a number of jobs a second, or 'default'") from None
    if value is not None and not 0 < value < 100_000:
        raise Refused("a rate is above 0: to stop a queue, use pause")
    with connected() as connection:
        connection.execute(actions.RATE, {"queue": queue, "rate": value})
        actions.keep(connection, "queue.rate", queue, by=operator(), why=reason, rate_per_s=value)
    tables.say(f"{queue}: " + ("the rate of the settings" if value is None else f"{value:g} jobs a second"))


def prune() -> None:
    """Delete history past its retention now, instead of at the next full hour.

    Example: prune
    """
    _ask_for(PruneHistory())


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A message that needs no fields.")],
    urgent: Annotated[bool, typer.Option(help="Before what waits.")] = False,
) -> None:
    """Ask for a job of the timetable now.

    Example: run expire_due_gift_cards
    """
    known(name, "message", MESSAGES)
    try:
        message = MESSAGES[name]()
    except ValidationError:
        raise Refused(f"{name} needs fields: publish it, or use enqueue_job() in SQL") from None
    _ask_for(message, Priority.URGENT if urgent else Priority.NORMAL)


def _ask_for(message: Message, priority: Priority = Priority.NORMAL) -> None:
    with connected() as connection:
        job_id = enqueue(connection, message, priority=priority, source=f"console: {operator()}")
    tables.say(f"{message.name} is asked for: job {job_id}")
