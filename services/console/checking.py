"""The invariants, counted now: what must never be, what it means, and the way out."""

from __future__ import annotations

import time
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console

from services.console import tables
from services.console.session import AsJson, connected
from shared import db
from shared.invariants import INVARIANTS, Invariant, allowed, count
from shared.settings import settings

COLUMNS = {"invariant": "id", "says": "what must hold", "violations": "violations", "took_s": "took, s"}


def invariants(
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Of a replica; without it JOBS_CHECK_DATABASE_URL, else JOBS_DATABASE_URL."),
    ] = None,
    limit_s: Annotated[float | None, typer.Option(min=0.001, help="Longest query; default JOBS_CHECK_LIMIT_S.")] = None,
    json: AsJson = False,
) -> None:
    """Count what must never be. Exit status 1 when there is any, or when it could not be counted.

    Some read whole tables: on a large database, ask a replica.

    Example: invariants --limit-s 300 --database-url postgresql://reader@replica:5432/giftcards
    """
    with connected(database_url or _configured()) as connection, Console(stderr=True).status("counting") as status:
        rows = []
        for one in INVARIANTS:
            status.update(f"{one.id} {one.says}")
            rows.append(_row(connection, one, limit_s or settings().check_limit_s))
    wrong = [row for row in rows if row["violations"] != 0]
    tables.show(rows, COLUMNS, title="invariants", json=json)
    for row in [] if json else wrong:
        tables.say(f"{row['invariant']}: {row['way_out']}")
    if wrong:
        raise typer.Exit(1)


def _configured() -> str | None:
    url = settings().check_database_url
    return url.get_secret_value() if url else None


def _row(connection: db.Connection, invariant: Invariant, limit_s: float) -> dict[str, Any]:
    """Count one; ``violations`` is None when its query took too long."""
    began = time.monotonic()
    found, way_out = None, f"not counted within {limit_s:g} s: raise --limit-s, or ask a replica with --database-url"
    try:
        found = count(connection, invariant, limit_s=limit_s, **allowed())
        way_out = invariant.way_out
    except psycopg.errors.QueryCanceled:
        pass
    took_s = round(time.monotonic() - began, 3)
    return {
        "invariant": invariant.id, "says": invariant.says, "violations": found, "took_s": took_s, "way_out": way_out,
    }  # fmt: skip
