"""Commands on whole queues, and for jobs of the timetable."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from services.console import actions, tables
from services.console.session import Queue, Refused, Why, connected, known, operator
from shared.enqueue import enqueue
from shared.messages import MESSAGES, QUEUES, Message, Priority, PruneHistory


def pause(queue: Queue, reason: Why) -> None:
    """Stop a queue: nothing more of it starts, within two seconds; what runs goes on.

    Example: pause email-delivery --reason "provider incident"
    """
    known(queue, "queue", QUEUES)
    with connected() as connection:
        connection.execute(actions.PAUSE, {"queue": queue, "by": operator(), "why": reason})
        actions.keep(connection, "queue.paused", queue, by=operator(), why=reason)
    tables.say(f"{queue} is paused: what runs goes on, nothing more starts")


def resume(queue: Queue, reason: Why) -> None:
    """Let a paused queue go on.

    Example: resume email-delivery --reason "provider is back"
    """
    known(queue, "queue", QUEUES)
    with connected() as connection:
        if was_paused := connection.execute(actions.RESUME, {"queue": queue}).rowcount:
            actions.keep(connection, "queue.resumed", queue, by=operator(), why=reason)
    tables.say(f"{queue} goes on" if was_paused else f"{queue} was not paused")


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
    if value is not None and not 0 < value < 100_000:
        raise Refused("a rate is above 0: to stop a queue, use pause")
    with connected() as connection:
        connection.execute(actions.RATE, {"queue": queue, "rate": value})
        actions.keep(connection, "queue.rate", queue, by=operator(), why=reason, rate_per_s=value)
    tables.say(f"{queue}: " + ("the rate of the settings" if value is None else f"{value:g} jobs a second"))


def prune(reason: Why) -> None:
    """Delete history past its retention now, instead of at the next full hour.

    Example: prune --reason "disk is filling"
    """
    _ask_for(PruneHistory(), reason)


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A message that needs no fields.")],
    reason: Why,
    urgent: Annotated[bool, typer.Option(help="Before what waits.")] = False,
) -> None:
    """Ask for a job of the timetable now.

    Example: run expire_due_gift_cards --reason "brake was released"
    """
    known(name, "message", MESSAGES)
    try:
        message = MESSAGES[name]()
    except ValidationError:
        raise Refused(f"{name} needs fields: publish it, or use enqueue_job() in SQL") from None
    _ask_for(message, reason, Priority.URGENT if urgent else Priority.NORMAL)


def _ask_for(message: Message, reason: str, priority: Priority = Priority.NORMAL) -> None:
    with connected() as connection:
        job_id = enqueue(connection, message, priority=priority, source="console")
        actions.keep(connection, "job.asked", str(job_id), by=operator(), why=reason)
    tables.say(f"{message.name} is asked for: job {job_id}")
