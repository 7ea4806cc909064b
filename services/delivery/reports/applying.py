"""What a report changes: its delivery's state, and whether its address is still written to."""

from __future__ import annotations

from typing import Any

from services.delivery import bounces
from services.delivery.reports.report import Kind, Report
from services.delivery.reports.standing import Standing, change, locked
from shared import db, suppressions


def apply(connection: db.Connection, report: Report, *, again: bool = False) -> str:
    """Apply a report, in the transaction that takes it in.

    Parameters:
        again: it was an orphan; its address was dealt with when it came.

    Returns:
        ``applied``, ``orphan`` or ``nothing``.
    """
    if report.kind in (Kind.NOTHING, Kind.HELP):
        return "nothing"
    if report.kind in (Kind.STOP, Kind.START, Kind.UNSUBSCRIBE):
        return _wish(connection, report)
    delivery = locked(connection, report)
    if not (again and _vouched(report)):
        _suppress(connection, report, delivery)
    if delivery and delivery.in_flight:
        return "orphan"  # the worker is about to write down its own answer, which must not undo this one
    if delivery is None:
        return "orphan" if report.delivery_id or report.provider_id else "applied"
    change(connection, report, delivery)
    return "applied"


def _wish(connection: db.Connection, report: Report) -> str:
    """Do as somebody asked: stop, start again, or no more reminders."""
    if not report.address:
        return "nothing"
    for scope in report.scopes:
        if report.kind is Kind.START:
            suppressions.lift(connection, report.channel, report.address, scope=scope, reason="stop")
        else:
            suppressions.suppress(
                connection,
                report.channel,
                report.address,
                report.kind.value,
                scope=scope,
                source=report.provider,
                delivery_id=report.delivery_id,
            )
    return "applied"


def _vouched(report: Report) -> str | None:
    """Give the address that a provider names; anybody can write a mail that looks like a DSN, so that names none."""
    return report.address if report.provider != "dsn" else None


def _suppress(connection: db.Connection, report: Report, delivery: Standing | None) -> None:
    """Suppress the address we sent to, else the one that the provider names, if the report means that."""
    address = (delivery.address_hash if delivery else None) or _vouched(report)
    if not address:
        return
    about: dict[str, Any] = {"source": report.provider, "delivery_id": delivery.id if delivery else None}
    if report.kind in (Kind.HARD_BOUNCE, Kind.COMPLAINT):
        suppressions.suppress(connection, report.channel, address, report.kind.value, **about)
    elif report.kind is Kind.SOFT_BOUNCE:
        bounces.count_soft_bounces(connection, report.address or address, **about)
    elif report.kind is Kind.FAILED and report.code:
        bounces.from_refusal(connection, report.channel, address, report.code, **about)
