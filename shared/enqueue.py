"""The SQL door: ask for a job in the caller's own transaction, so that it is there exactly if the caller commits."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from .messages import Message, Priority
from .traceparent import current


def enqueue(
    transaction: Any,
    message: Message,
    *,
    run_at: datetime | None = None,
    priority: Priority | str = Priority.NORMAL,
    dedupe_key: str | None = None,
    not_after: datetime | None = None,
    traceparent: str | None = None,
    source: str = "giftcard-jobs",
) -> UUID:
    """Write a job down in ``transaction``; nothing is published before it commits.

    Parameters:
        transaction: a SQLAlchemy ``Session`` or ``Connection``, or a psycopg ``Connection`` or ``Cursor``.
        run_at: aware time before which it must not run; None means now (or when the message itself says).
        dedupe_key: a business key, unique for ever: the second job with it is not made.
        not_after: aware time after which it is worthless and ends as ``skipped(too_late)``.
        traceparent: the W3C trace context it belongs to; None: that of the current span or job.

    Returns:
        The id of the job, or of the one that already has ``dedupe_key``.

    Raises:
        A database error: the key is used by another job, or the message is not one that this database knows.
        ValueError: a time has no time zone, or there is no such priority.
    """
    for time in (run_at, not_after):
        _aware(time)
    values = {
        "name": message.name,
        "data": message.model_dump_json(exclude_none=True),
        "run_at": run_at,
        "priority": Priority(priority).value,
        "dedupe_key": dedupe_key,
        "not_after": not_after,
        "traceparent": current() if traceparent is None else traceparent,
        "source": source,
    }
    return UUID(str(_scalar(transaction, "enqueue_job", values)))


def cancel(transaction: Any, id_or_key: UUID | str) -> str:
    """Cancel a job by id or key: ``cancelled``, ``cancelling`` (it runs), or ``too_late``."""
    return str(_scalar(transaction, "cancel_job", {"id_or_key": str(id_or_key)}))


def reschedule(transaction: Any, id_or_key: UUID | str, run_at: datetime) -> str:
    """Move a job that has not started: ``moved`` or ``too_late``.

    Raises:
        ValueError: ``run_at`` has no time zone.
    """
    _aware(run_at)
    return str(_scalar(transaction, "reschedule_job", {"id_or_key": str(id_or_key), "run_at": run_at}))


def _aware(time: datetime | None) -> None:
    if time is not None and time.tzinfo is None:
        raise ValueError("a time has no time zone: use datetime.now(UTC) or a zoneinfo.ZoneInfo")


def _scalar(transaction: Any, function: str, values: dict[str, Any]) -> Any:
    if type(transaction).__module__.startswith("sqlalchemy."):
        from sqlalchemy import text

        call = ", ".join(f"{name} => {_cast(name, ':' + name)}" for name in values)
        return transaction.execute(text(f"SELECT {function}({call})"), values).scalar_one()  # names are ours
    call = ", ".join(f"{name} => {_cast(name, f'%({name})s')}" for name in values)
    row = transaction.execute(f"SELECT {function}({call}) AS answer", values).fetchone()  # names are ours
    return row["answer"] if isinstance(row, dict) else row[0]


def _cast(name: str, placeholder: str) -> str:
    kinds = {"data": "jsonb", "run_at": "timestamptz", "not_after": "timestamptz"}
    return f"CAST({placeholder} AS {kinds.get(name, 'text')})"
