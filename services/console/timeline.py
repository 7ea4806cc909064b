"""One job from beginning to end: what its row, the audit and its deliveries know, in order, in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.console import masks, queries, why
from services.console.resolving import attempt
from services.console.session import Refused
from shared import db

# Fields of messages that hold an address or a number.
PERSONAL = ("email", "phone")


def look(connection: db.Connection, id_or_key: str) -> dict[str, Any]:
    """Give a job with its data masked, ``acts`` of operators, ``deliveries``, ``timeline``, ``why`` and ``trace_id``.

    Raises:
        Refused: retention has deleted its row.
        psycopg.errors.NoDataFound: no job has this id or key.
    """
    row = connection.execute(queries.JOB, {"id_or_key": id_or_key}).fetchone()
    if row is None:
        raise Refused(f"the job {id_or_key!r} is over, and its row was deleted by retention")
    acts = connection.execute(queries.ACTS, {"id": row["id"]}).fetchall()
    data = row["data"] if isinstance(row["data"], dict) else {}  # what was rejected may be anything
    given = {"card": row["gift_card_id"], "job": row["id"], "delivery": str(data.get("delivery_id"))}
    deliveries = connection.execute(queries.DELIVERIES, given).fetchall()
    events = [*_own(row), *_acts(acts), *_sent(deliveries)]
    ended = {"did": row["state"], "what": row["name"], "reason": row["reason"], "facts": {"error": row["error"]}}
    return row | {
        "data": masked(row["data"]),
        "acts": acts,
        "deliveries": deliveries,
        "timeline": sorted(events, key=lambda event: event["at"]),
        "why": why.of_job(ended) if row["finished_at"] else why.clause(row["reason"], row["error"]),
        "trace_id": row["traceparent"].split("-")[1] if row["traceparent"] else None,
    }


def masked(data: Any) -> Any:
    """Hide what of a message's data could be written to."""
    if isinstance(data, list):
        return [masked(each) for each in data]
    if not isinstance(data, dict):
        return masks.masked(data) if isinstance(data, str) and "@" in data else data
    hidden = {name: masks.masked(str(value)) for name, value in data.items() if value and name.endswith(PERSONAL)}
    return {name: masked(value) for name, value in data.items()} | hidden


def _event(at: Any, did: str, words: str = "") -> dict[str, Any]:
    return {"at": at, "did": did, "words": words}


def _own(row: dict[str, Any]) -> list[dict[str, Any]]:
    by = f"by {row['source']}" if row["source"] else ""
    events = [_event(row["enqueued_at"], "asked for", by)]
    if row["started_at"]:
        tries = f"attempt {row['attempt']}" + (f" of {row['max_attempts']}" if row["max_attempts"] else "")
        events.append(_event(row["started_at"], "running", f"{tries}, by {row['worker']}"))
    if row["finished_at"]:
        events.append(_event(row["finished_at"], row["state"], why.clause(row["reason"], row["error"])))
    elif row["state"] == "scheduled":
        waits = why.clause(row["reason"], row["error"])
        events.append(_event(row["run_at"], "will", f"run, since {waits}" if waits else "run"))
    return events


def _acts(acts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    events = []
    for act in acts:
        was, words = act["details"], f"by {act['who']}: {act['reason']}"
        if act["action"] == "job.retried":
            end = why.clause(was.get("reason"), was.get("error"))
            words += f" (it had ended as {was['state']} on attempt {was['attempt']}, since {end})"
        events.append(_event(act["at"], act["action"].removeprefix("job."), words))
    return events


def _sent(deliveries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = [_event(row["created_at"], "made", f"a delivery: {row['what']}") for row in deliveries]
    tries = [(row, tried) for row in deliveries for tried in row["attempts"]]
    return made + [
        _event(
            datetime.fromisoformat(tried["at"]),
            "sending",
            f"{row['what']}: {attempt(tried).partition(' ')[2].partition(' ')[2]}",
        )
        for row, tried in tries
    ]
