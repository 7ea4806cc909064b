"""What came over the wire and is not a message of ours: written down with what to mend, never retried for nothing."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from psycopg.types.json import Jsonb

from shared import db, logs, metrics
from shared.errors import BadMessage
from shared.jobs import PARK_UNKNOWN, REJECT
from shared.settings import settings

_HARMLESS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.+Z-]+|[a-z]+(_[a-z]+)+", re.I)


def write_down(queue: str, error: BadMessage, body: bytes) -> None:
    """Keep a body that is no message as a rejected row; an unknown name waits for newer workers first.

    Raises:
        Stopping: the process ends first, so the message must go back to the broker.
    """
    document = shape(body)
    name = str(document.get("type") or document.get("actor_name") or "?")[:100] if isinstance(document, dict) else "?"
    job_id = _id(document) or uuid5(NAMESPACE_OID, repr(body))
    if error.reason == "unknown_message" and _park(job_id, name, queue, error, document):
        logs.get().warning("parked", job_id=str(job_id), queue=queue, reason=error.reason)
        return
    reject(job_id, queue, error.reason, error.detail, name=name, document=document)


def reject(job_id: UUID, queue: str, reason: str, detail: str, *, name: str = "?", document: Any = None) -> None:
    """Write a rejected row, and say so in the log and the metrics."""
    row = {"id": job_id, "name": name, "queue": queue, "data": Jsonb(document), "reason": reason, "error": detail}

    def once() -> None:
        with db.transaction() as connection:
            connection.execute(REJECT, row)

    db.persist(once)
    metrics.jobs.labels(queue, "?", "rejected", reason).inc()
    logs.get().warning("rejected", job_id=str(job_id), queue=queue, reason=reason)


def _park(job_id: UUID, name: str, queue: str, error: BadMessage, document: Any) -> bool:
    grace = settings().unknown_message_grace_s
    why = {"reason": error.reason, "error": error.detail, "grace": grace, "wait": min(30, max(1, grace / 3))}
    row = {"id": job_id, "name": name, "queue": queue, "data": Jsonb(document)} | why

    def once() -> bool:
        with db.transaction() as connection:
            return connection.execute(PARK_UNKNOWN, row).fetchone() is not None

    return grace > 0 and db.persist(once)


def _id(document: Any) -> UUID | None:
    try:
        return UUID(str(document.get("id") or document.get("message_id"))) if isinstance(document, dict) else None
    except ValueError:
        return None


def shape(body: bytes) -> Any:
    """Show a body without what it may leak: ids, times and snake_case names stay, other text does not."""
    try:
        return _masked(json.loads(body))
    except (ValueError, RecursionError):
        return {"bytes": len(body), "json": False}


def _masked(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < 5:
        return {str(k)[:64]: _masked(v, depth + 1) for k, v in list(value.items())[:50]}
    if isinstance(value, list) and depth < 5:
        return [_masked(v, depth + 1) for v in value[:50]]
    if isinstance(value, str):
        return value if _HARMLESS.fullmatch(value) and len(value) <= 64 else f"text of {len(value)} characters"
    return value if isinstance(value, bool | int | float | None) else "…"
