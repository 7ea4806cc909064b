"""Acts on many jobs: shown first, then fixed, confirmed by their number, and done bit by bit by whoever is there.

A slice is one transaction under the lock of its action's row, so that a crash repeats nothing, two consoles double
nothing, and any of them goes on where another stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from services.console import actions, job_acts, searching
from services.console.searching import Search
from services.console.session import Refused
from shared import db

LARGEST = 100_000
PER_S = 100

PREPARE: LiteralString = """
INSERT INTO bulk_actions (act, run_at, search, per_s, prepared_by) VALUES (%s, %s, %s, %s, %s) RETURNING id
"""
SNAPSHOT: LiteralString = """
INSERT INTO bulk_action_items (bulk_id, job_id, refusal)
SELECT %(bulk)s, id, CASE
    WHEN discarded_at IS NOT NULL AND %(act)s = 'retry' AND %(matching)s THEN 'it was put away: retry it by itself'
    WHEN NOT ({eligible}) THEN {refusal} END
FROM jobs WHERE id IN ({ids})
"""
SELECTED: LiteralString = "SELECT unnest(%(selected)s::uuid[])"
MATCHING: LiteralString = "SELECT id FROM ({parts}) every ORDER BY at DESC, id DESC LIMIT %(limit)s"
CAPPED: LiteralString = "UPDATE bulk_actions SET capped = true WHERE id = %s"

SHOW: LiteralString = """
SELECT b.*, total, done FROM bulk_actions b, LATERAL (
    SELECT count(*) FILTER (WHERE refusal IS NULL) AS total, count(result) AS done
    FROM bulk_action_items WHERE bulk_id = b.id
) counted WHERE b.id = %s
"""
REFUSALS: LiteralString = """
SELECT refusal, count(*) AS jobs, (array_agg(job_id ORDER BY job_id))[1:3] AS examples FROM bulk_action_items
WHERE bulk_id = %s AND refusal IS NOT NULL GROUP BY refusal ORDER BY jobs DESC
"""
RESULTS: LiteralString = """
SELECT result, count(*) AS jobs, (array_agg(job_id ORDER BY job_id))[1:3] AS examples FROM bulk_action_items
WHERE bulk_id = %s AND result IS NOT NULL GROUP BY result ORDER BY jobs DESC
"""
MISSING: LiteralString = """
SELECT id FROM unnest(%(selected)s::uuid[]) AS s (id)
EXCEPT SELECT job_id FROM bulk_action_items WHERE bulk_id = %(bulk)s ORDER BY id
"""
LATEST: LiteralString = """
SELECT id, act, state, prepared_by, prepared_at, started_by, reason, started_at, ended_at FROM bulk_actions
ORDER BY prepared_at DESC LIMIT 50
"""
LOCK: LiteralString = "SELECT state FROM bulk_actions WHERE id = %s FOR UPDATE"

START: LiteralString = """
UPDATE bulk_actions SET state = 'running', started_by = %(by)s, reason = %(why)s, started_at = clock_timestamp(),
    next_at = clock_timestamp() WHERE id = %(bulk)s
"""
ABORT: LiteralString = """
UPDATE bulk_actions SET state = 'aborted', aborted_by = %(by)s, ended_at = clock_timestamp()
WHERE id = %(bulk)s AND state IN ('prepared', 'running')
"""


def prepare(
    connection: db.Connection,
    act: str,
    what: Search | Sequence[UUID],
    *,
    by: str,
    run_at: datetime | None = None,
    per_s: int = PER_S,
) -> UUID:
    """Fix which jobs an act is for, and which of them it would leave alone and why. Nothing is done to them yet.

    Parameters:
        what: all that match, the newest ``LARGEST`` of them; or jobs by their ids.

    Raises:
        Refused: the act is to move them, and nobody says to when.
    """
    if (act == "move") != (run_at is not None):
        raise Refused("a move needs the time to move to, and nothing else does: give run_at")
    search, selected = (what, list[UUID]()) if isinstance(what, Search) else (Search(), list(what))
    matching = search is what
    asked = search.model_dump(mode="json", exclude_none=True) if matching else {"selected": len(selected)}
    [row] = connection.execute(PREPARE, (act, run_at, Jsonb(asked), per_s, by)).fetchall()
    ids = MATCHING.replace("{parts}", searching.parts(search)) if matching else SELECTED
    statement = SNAPSHOT.replace("{eligible}", job_acts.ELIGIBLE[act]).replace("{refusal}", job_acts.REFUSAL)
    given = searching.parameters(search) | {"bulk": row["id"], "act": act, "limit": LARGEST}
    given |= {"matching": matching, "selected": selected}
    found = connection.execute(statement.replace("{ids}", ids), given, prepare=False).rowcount
    if matching and found == LARGEST:
        connection.execute(CAPPED, (row["id"],))
    return UUID(str(row["id"]))


def show(connection: db.Connection, bulk: UUID) -> dict[str, Any]:
    """Give a bulk action with how many it is for (``total``) and has done, ``refusals`` and ``results`` by kind.

    Raises:
        Refused: there is none of this id.
    """
    found = connection.execute(SHOW, (bulk,)).fetchone()
    if found is None:
        raise Refused(f"no bulk action has the id {bulk}: it may have been deleted by retention")
    refusals = connection.execute(REFUSALS, (bulk,)).fetchall()
    return found | {"refusals": refusals, "results": connection.execute(RESULTS, (bulk,)).fetchall()}


def missing(connection: db.Connection, bulk: UUID, ids: Sequence[UUID]) -> list[UUID]:
    """Say which of some ids no job has."""
    given = {"bulk": bulk, "selected": list(ids)}
    return [row["id"] for row in connection.execute(MISSING, given)]


def start(connection: db.Connection, bulk: UUID, count: int, *, by: str, why: str) -> str:
    """Confirm a prepared one by the number of jobs that it is for. Returns what to say.

    Raises:
        Refused: the number is another, or it was confirmed or aborted before.
    """
    connection.execute(LOCK, (bulk,))
    found = show(connection, bulk)
    if found["state"] != "prepared":
        raise Refused(f"it was confirmed or aborted before: it is {found['state']}")
    if not found["total"]:
        raise Refused("there is no job that it could be done to")
    if count != found["total"]:
        raise Refused(f"it is for {found['total']:,} jobs, not {count:,}: type their number to confirm")
    connection.execute(START, {"bulk": bulk, "by": by, "why": why})
    about = {"act": found["act"], "jobs": found["total"], "search": json.dumps(found["search"])}
    actions.keep(connection, "bulk.started", str(bulk), by=by, why=why, **about)
    return f"{found['act']} of {found['total']:,} jobs has begun"


def abort(connection: db.Connection, bulk: UUID, *, by: str, why: str) -> str:
    """Stop one where it is; what is done stays done. Returns what to say.

    Raises:
        Refused: it has ended.
    """
    if not connection.execute(ABORT, {"bulk": bulk, "by": by}).rowcount:
        raise Refused(f"there is nothing to abort: it is {show(connection, bulk)['state']}")
    actions.keep(connection, "bulk.aborted", str(bulk), by=by, why=why)
    return "aborted: what is done stays done, nothing more is"
