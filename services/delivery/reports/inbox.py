"""Take a report in once, and keep it until it is applied: `provider_events` is the inbox of all providers."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from services.delivery.reports.applying import apply
from services.delivery.reports.report import Kind, Report, digest
from shared import db, logs, metrics
from shared.failpoints import failpoint

# A report that names no delivery of ours for so long is about somebody else's mail.
ORPHANS_WAIT = timedelta(days=7)
MOST_AT_ONCE = 200

TAKE: LiteralString = """
INSERT INTO provider_events
    (provider, event_id, kind, delivery_id, provider_id, address_hash, code, occurred_at, body)
VALUES (%(provider)s, %(event_id)s, %(kind)s, %(delivery_id)s, %(provider_id)s, %(address)s, %(code)s, %(occurred_at)s,
    %(body)s)
ON CONFLICT (provider, event_id) DO NOTHING RETURNING id
"""

APPLIED: LiteralString = "UPDATE provider_events SET applied_at = clock_timestamp() WHERE id = %s"

_ORPHAN: LiteralString = """
SELECT id, provider, event_id, kind, delivery_id, provider_id, address_hash, code, occurred_at, body
FROM provider_events WHERE applied_at IS NULL
"""

OF_MESSAGE: LiteralString = (
    _ORPHAN + "AND provider_id = %s AND (provider = 'twilio') = (%s = 'sms') ORDER BY id FOR UPDATE SKIP LOCKED"
)
BY_ID: LiteralString = _ORPHAN + "AND id = %s FOR UPDATE SKIP LOCKED"

# One look per orphan: EXISTS might be answered by reading all deliveries once.
FOUND_NOW: LiteralString = """
SELECT id FROM provider_events e WHERE applied_at IS NULL AND coalesce(
    (SELECT true FROM deliveries d WHERE d.id = e.delivery_id),
    (SELECT true FROM deliveries d WHERE d.provider_id = e.provider_id
        AND d.channel = CASE WHEN e.provider = 'twilio' THEN 'sms' ELSE 'email' END))
ORDER BY id LIMIT %s
"""

FORGET: LiteralString = """
UPDATE provider_events SET applied_at = clock_timestamp(), body = body || '{"orphan": true}'
WHERE applied_at IS NULL AND received_at < clock_timestamp() - %s
"""


def take(report: Report) -> str:
    """Write a report down and apply it, in one short transaction.

    Returns:
        ``applied``, ``duplicate``, ``orphan`` (kept until its delivery is known) or ``nothing`` (none of our business).

    Raises:
        A database error of `db.AWAY`: nothing was kept, so the provider must try again.
    """
    outcome = _take(report)
    metrics.provider_reports.labels(report.provider, report.kind.value, outcome).inc()
    logs.get().info(
        "report",
        provider=report.provider,
        kind=report.kind.value,
        outcome=outcome,
        delivery_id=_text(report.delivery_id),
    )
    return outcome


def _take(report: Report) -> str:
    for last in (False, False, False, False, True):
        try:
            with db.transaction() as connection:
                return receive(connection, report)
        except db.MET:  # two transactions met: nothing was kept
            if last:
                raise
            time.sleep(random.uniform(0, 0.05))  # noqa: S311  # jitter, not a secret
    raise AssertionError("unreachable")


def receive(connection: db.Connection, report: Report) -> str:
    """Do the work of `take` in a transaction of the caller's."""
    row = connection.execute(TAKE, _values(report)).fetchone()
    if row is None:
        return "duplicate"
    failpoint("report-taken")
    outcome = apply(connection, report)
    failpoint("report-applied")
    if outcome != "orphan":
        connection.execute(APPLIED, (row["id"],))
    return outcome


def apply_orphans(connection: db.Connection, channel: str, provider_id: str | None) -> int:
    """Apply what came before its delivery knew its provider's id; call it when that is recorded.

    Parameters:
        channel: email or sms.

    Returns:
        How many reports were applied.
    """
    if not provider_id:
        return 0
    rows = connection.execute(OF_MESSAGE, (provider_id, channel)).fetchall()
    return sum(_again(connection, row) for row in rows)


def sweep() -> int:
    """Apply the orphans whose delivery is known by now, each in its own transaction, and give up the old ones.

    Returns:
        How many were applied. It may run in several processes at once.
    """
    with db.transaction() as connection:
        connection.execute(FORGET, (ORPHANS_WAIT,))
        ids = [row["id"] for row in connection.execute(FOUND_NOW, (MOST_AT_ONCE,))]
    return sum(_one(event) for event in ids)


def _one(event: int) -> int:
    with db.transaction() as connection:
        row = connection.execute(BY_ID, (event,)).fetchone()
        return _again(connection, row) if row else 0


def _again(connection: db.Connection, row: dict[str, Any]) -> int:
    if apply(connection, _report(row), again=True) == "orphan":
        return 0
    failpoint("report-applied")
    connection.execute(APPLIED, (row["id"],))
    return 1


def _values(report: Report) -> dict[str, Any]:
    return {
        "provider": report.provider,
        "event_id": digest(report.event_id) if "@" in report.event_id else report.event_id,
        "kind": report.kind.value,
        "delivery_id": report.delivery_id,
        "provider_id": report.provider_id,
        "address": report.address,
        "code": report.code,
        "occurred_at": report.occurred_at,
        "body": Jsonb(report.facts),
    }


def _report(row: dict[str, Any]) -> Report:
    return Report(
        provider=row["provider"],
        event_id=row["event_id"],
        kind=Kind(row["kind"]),
        delivery_id=row["delivery_id"],
        provider_id=row["provider_id"],
        address=row["address_hash"],
        code=row["code"],
        occurred_at=row["occurred_at"],
        facts=row["body"],
    )


def _text(delivery_id: UUID | None) -> str | None:
    return str(delivery_id) if delivery_id else None
