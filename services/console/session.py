"""One look at the database, and errors as one line that says what to do."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from typing import Annotated, Any, NoReturn
from uuid import UUID

import psycopg
import typer
from typer.core import TyperGroup

from shared import db, trust
from shared.messages import QUEUES
from shared.wall_time import instant, zone

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
IdOrKey = Annotated[str, typer.Argument(metavar="ID|KEY", help="A job's id, or its dedupe key.")]
Queue = Annotated[str, typer.Argument(metavar="QUEUE", help=f"One of {', '.join(QUEUES)}.")]
ByQueue = Annotated[str | None, typer.Option(help="Only this queue.")]
ByName = Annotated[str | None, typer.Option(help="Only this message, such as send_gift_card_email.")]
As = Annotated[str | None, typer.Option("--as", metavar="LOGIN", help="Who acts; you, by default.")]
CardId = Annotated[UUID, typer.Argument(metavar="CARD", help="A gift card's id.")]
Zone = Annotated[str, typer.Option("--zone", help="IANA zone of a TIME without an offset.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]


class Refused(Exception):
    """Say why the console does not do what it was asked."""


def kept(reason: str) -> str:
    """Pass on a reason that may be kept. Raises Refused for one that is empty, or may hold an address or number."""
    if not reason.strip() or "@" in reason or "+" in reason:
        raise Refused("reason: say why, without an address or number (no @ and no +): it is kept for ever")
    return reason


Why = Annotated[str, typer.Option("--reason", callback=kept, help="Why; kept with what you do. No names or addresses.")]


class Commands(TyperGroup):
    """Commands whose errors are one line on stderr and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except Refused as error:
            _end(str(error))
        except psycopg.errors.UndefinedTable:
            _end("this database has no tables of ours: migrate it first with 'alembic upgrade head'")
        except psycopg.OperationalError as error:
            usual = "is JOBS_DATABASE_URL right, and the server up?"
            _end(f"cannot reach the database ({type(error).__name__}): {trust.advice(error) or usual}")
        except psycopg.DatabaseError as error:
            _end(error.diag.message_primary or type(error).__name__)


def _end(line: str) -> NoReturn:
    typer.secho(f"error: {line}", err=True, fg="red")
    raise typer.Exit(1)


@contextmanager
def connected(url: str | None = None) -> Iterator[db.Connection]:
    """Give a connection in a transaction, committed at the end; to a replica, if its ``url`` is given."""
    with db.connect(url, connect_timeout=5, application_name="giftcard-console") as connection:
        yield connection


def operator(given: str | None = None) -> str:
    """Name who acts: as given, else the user of this terminal."""
    try:
        return given or getuser()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"


def known(name: str | None, kind: str, names: Collection[str]) -> str | None:
    """Pass a name through, or None.

    Raises:
        Refused: nothing of this kind has it.
    """
    if name is not None and name not in names:
        raise Refused(f"no {kind} is called {name!r}: use one of {', '.join(names)}")
    return name


def moment(text: str, zone_name: str) -> datetime:
    """Read a time that was typed, in UTC.

    Raises:
        Refused: it is none, or there is no such zone.
    """
    try:
        given = datetime.fromisoformat(text)
        return given.astimezone(UTC) if given.tzinfo else instant(given, zone(zone_name))
    except ValueError as error:
        raise Refused(f"{text!r} is no time: {error}; write 2026-12-25T09:00 with --zone, or with an offset") from None
