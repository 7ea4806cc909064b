"""What came over the wire and is not a message of ours: written down with what to mend, never retried for nothing."""

from __future__ import annotations

import json
import math
import re
from typing import Any, LiteralString
from uuid import NAMESPACE_OID, UUID, uuid5

from psycopg.types.json import Jsonb

from shared import db, logs, metrics
from shared.errors import BadMessage, UnknownMessage
from shared.failpoints import failpoint
from shared.messages import Priority, hint
from shared.settings import settings
from shared.wire import Envelope

# A row of that id and name that waits is what was meant. Otherwise the refusal gets a row of its own, so that the
# mended message may come with the id that this one had.
REJECT: LiteralString = """
WITH known AS (
    UPDATE jobs SET state = 'rejected', reason = %(reason)s, error = %(error)s, finished_at = clock_timestamp(),
        data = CASE WHEN reason = 'unknown_message' THEN %(data)s ELSE data END
    WHERE id = %(id)s AND name = %(name)s AND state IN ('queued', 'scheduled') RETURNING id
), added AS (
    INSERT INTO jobs (id, name, queue, data, state, reason, error, source, finished_at)
    SELECT %(own_id)s, %(name)s, %(queue)s, %(data)s, 'rejected', %(reason)s, %(error)s, 'amqp', clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (id) DO NOTHING RETURNING id
)
SELECT id FROM known UNION ALL SELECT id FROM added
"""

# An unknown message waits for newer workers as a scheduled row, until its grace is over or it would run anyway.
PARK: LiteralString = """
INSERT INTO jobs AS j (id, name, queue, data, state, reason, error, source, priority, dedupe_key, traceparent, run_at)
VALUES (%(id)s, %(name)s, %(queue)s, %(data)s, 'scheduled', 'unknown_message', %(error)s, %(source)s, %(level)s,
    %(dedupe_key)s, %(traceparent)s, greatest(%(run_at)s, clock_timestamp() + make_interval(secs => %(wait)s)))
ON CONFLICT (id) DO UPDATE SET
    state = 'scheduled', run_at = excluded.run_at, reason = excluded.reason, error = excluded.error
    WHERE j.state IN ('queued', 'scheduled') AND j.enqueued_at > clock_timestamp() - make_interval(secs => %(grace)s)
RETURNING id
"""

_HARMLESS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.+Z-]+|[a-z]+(_[a-z]+)+", re.I)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+|\+[\d ()-]{7,20}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,100}")


def write_down(queue: str, error: BadMessage, body: bytes) -> None:
    """Keep a body that is no message as a rejected row; an unknown name waits for newer workers first.

    Raises:
        Stopping: the process ends first, so the message must go back to the broker.
    """
    job_id, name = _id(body), _name(body)
    if isinstance(error, UnknownMessage):
        if _park(queue, error):
            logs.get().warning("parked", job_id=str(error.row["id"]), queue=queue, reason=error.reason)
            return
        job_id, name = error.row["id"], error.row["name"]
    reject(job_id, queue, error.reason, error.detail, name=name, document=shape(body), seed=body)


def reject(
    job_id: UUID | None, queue: str, reason: str, detail: str, *, name: str, document: Any, seed: object
) -> None:
    """Write down once that something was rejected, and say so in the log and the metrics.

    Parameters:
        job_id: the job that was meant, if it says; it ends as rejected if it waits.
        seed: what was rejected: the same thing rejected again for the same reason is the same row.
    """
    own_id = uuid5(NAMESPACE_OID, repr((queue, reason, detail, seed)))
    row = {"id": job_id, "own_id": own_id, "name": name, "queue": queue, "data": Jsonb(document)}

    def once() -> UUID | None:
        with db.transaction() as connection:
            written = connection.execute(REJECT, row | {"reason": reason, "error": detail}).fetchone()
            failpoint("refusing")
        return written["id"] if written else None

    if written_id := db.persist(once):
        metrics.jobs.labels(queue, "?", "rejected", reason).inc()
        logs.get().warning("rejected", job_id=str(written_id), queue=queue, reason=reason)
    else:
        metrics.duplicates.labels(queue).inc()


def reject_message(envelope: Envelope, reason: str, detail: str, *, job_id: UUID | None = None) -> None:
    """Write down once that a message, which was read, was rejected."""
    message = envelope.message
    document = message.model_dump(mode="json", exclude_none=True)
    reject(job_id, message.queue, reason, detail, name=message.name, document=document, seed=envelope.id)


def key_conflict(envelope: Envelope) -> None:
    """Write down once that a message was rejected since its key belongs to another job."""
    detail = "another job with other data has this dedupe_key: give this one its own"
    reject_message(envelope, "dedupe_key_conflict", detail)


def _park(queue: str, error: UnknownMessage) -> bool:
    grace = settings().unknown_message_grace_s
    level = list(Priority).index(error.row["priority"])
    data = Jsonb(_without_addresses(error.row["data"]))
    wait = min(30, max(1, grace / 3))
    row = {
        **error.row,
        "queue": queue,
        "data": data,
        "level": level,
        "error": error.detail,
        "grace": grace,
        "wait": wait,
    }

    def once() -> bool:
        with db.transaction() as connection:
            return connection.execute(PARK, row).fetchone() is not None

    return grace > 0 and db.persist(once)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _id(body: bytes) -> UUID | None:
    document = _parsed(body)
    try:
        return UUID(str(document.get("id") or document.get("message_id"))) if isinstance(document, dict) else None
    except ValueError:
        return None


def _name(body: bytes) -> str:
    document = _parsed(body)
    name = document.get("type") or document.get("actor_name") if isinstance(document, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "?"


def shape(body: bytes) -> Any:
    """Show a body without what it may leak: ids, times and snake_case names stay, other text does not."""
    document = _parsed(body)
    return {"bytes": len(body), "json": False} if document is None else _mapped(document, _masked)


def _masked(text: str) -> str:
    return text if len(text) <= 64 and _HARMLESS.fullmatch(text) else f"text of {len(text)} characters"


def _without_addresses(data: Any) -> Any:
    """Keep a message that nobody here can read, except that addresses become their fingerprints."""
    return _mapped(data, lambda text: hint(text) if _ADDRESS.fullmatch(text.strip()) else _storable(text))


def _mapped(value: Any, change: Any, depth: int = 0) -> Any:
    """Change every text in a JSON value, and bound it to what PostgreSQL can keep."""
    if isinstance(value, dict) and depth < 5:
        return {_key(k): _mapped(v, change, depth + 1) for k, v in list(value.items())[:50]}
    if isinstance(value, list) and depth < 5:
        return [_mapped(v, change, depth + 1) for v in value[:50]]
    if isinstance(value, str):
        return change(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | None) else "…"


def _key(name: str) -> str:
    """Keep a field's name; what is none (an address, a sentence) is masked like other text."""
    return name if _FIELD.fullmatch(name) else f"name of {len(name)} characters"


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
