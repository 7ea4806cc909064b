"""Commands on whole queues, and for jobs of the timetable."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from services.console import actions, tables
from services.console.session import Queue, Refused, Why, connected, known, operator
from shared import db
from shared.enqueue import enqueue
from shared.messages import MESSAGES, QUEUES, Priority, PruneHistory


def pause(queue: Queue, reason: Why) -> None:
    """Stop a queue: nothing more of it starts, within two seconds; what runs goes on.

    Example: pause email-delivery --reason "provider incident"
    """
    known(queue, "queue", QUEUES)
    with connected() as connection:
        line = actions.pause(connection, queue, by=operator(), why=reason)
    tables.say(line)


def resume(queue: Queue, reason: Why) -> None:
    """Let a paused queue go on.

    Example: resume email-delivery --reason "provider is back"
    """
    known(queue, "queue", QUEUES)
    with connected() as connection:
        line = actions.resume(connection, queue, by=operator(), why=reason)
    tables.say(line)


def rate(
    queue: Queue,
    per_s: Annotated[str, typer.Argument(metavar="N|default", help="Job starts a second, all workers.")],
    reason: Why,
) -> None:
    """Limit how many jobs of a queue start each second over all workers, from the next job on.

    Example: rate sms-delivery 2.5 --reason "carrier filters us"

    Example: rate sms-delivery default --reason "filter is off"
    """
    known(queue, "queue", QUEUES)
    try:
        value = None if per_s == "default" else float(per_s)
    except ValueError:
        raise Refused(f"{per_s!r} is no rate: give a number of jobs a second, or 'default'") from None
    with connected() as connection:
        line = actions.limit(connection, queue, value, by=operator(), why=reason)
    tables.say(line)


def prune(reason: Why) -> None:
    """Delete history past its retention now, instead of at the next full hour.

    Example: prune --reason "disk is filling"
    """
    with connected() as connection:
        line = ask_for(connection, PruneHistory.name, by=operator(), why=reason)
    tables.say(line)


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A message that needs no fields.")],
    reason: Why,
    urgent: Annotated[bool, typer.Option(help="Before what waits.")] = False,
) -> None:
    """Ask for a job of the timetable now.

    Example: run expire_due_gift_cards --reason "brake was released"
    """
    known(name, "message", MESSAGES)
    with connected() as connection:
        line = ask_for(connection, name, Priority.URGENT if urgent else Priority.NORMAL, by=operator(), why=reason)
    tables.say(line)


def ask_for(connection: db.Connection, name: str, priority: Priority = Priority.NORMAL, *, by: str, why: str) -> str:
    """Make a job of a message that needs no fields. Returns what to say."""
    try:
        message = MESSAGES[name]()
    except ValidationError:
        raise Refused(f"{name} needs fields: publish it, or use enqueue_job() in SQL") from None
    job_id = enqueue(connection, message, priority=priority, source="console")
    actions.keep(connection, "job.asked", str(job_id), by=by, why=why)
    return f"{message.name} is asked for: job {job_id}"
