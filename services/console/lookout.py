"""Keep what lies ahead counted, since that takes longer the more there is, and no page may wait for it.

Each console looks now and then; whoever holds the row of ``forecast`` counts, the others leave it alone.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from services.console import ahead
from shared import db, logs

DAYS = 92
LEAST_S = 10
SHARE = 20  # the longer counting takes, the rarer it is: one part in so many of the time, at most

DUE: LiteralString = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - as_of)::float, 'infinity') AS age_s,
    coalesce(took_s, 0) AS took_s FROM forecast FOR UPDATE SKIP LOCKED
"""
COUNT: LiteralString = """
WITH counted AS MATERIALIZED (SELECT coalesce(jsonb_agg(d), '[]') AS days FROM ({parts}) d)
UPDATE forecast SET as_of = %(now)s, days = counted.days, took_s = extract(epoch FROM clock_timestamp() - %(now)s)
FROM counted RETURNING took_s
""".replace("{parts}", f"({ahead.JOBS}) UNION ALL ({ahead.REMINDERS}) UNION ALL ({ahead.EXPIRING})")
AS_OF: LiteralString = "SELECT as_of FROM forecast"
COUNTED: LiteralString = """
SELECT d.* FROM forecast, jsonb_to_recordset(days)
    AS d (at timestamptz, queue text, what text, currency text, count bigint, money numeric)
WHERE d.at < %s ORDER BY d.at, d.queue, d.what, d.currency
"""


def counted(connection: db.Connection, days: int) -> dict[str, Any]:
    """Give what was counted last, by day (UTC).

    Parameters:
        days: how many after the day on which it was counted, up to ``DAYS``.

    Returns:
        ``as_of`` (None: nothing was ever counted), ``until``, ``rows`` in order of time, and ``held`` as it is now.
    """
    [row] = connection.execute(AS_OF).fetchall()
    today = (row["as_of"] or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    until = today + timedelta(days=days + 1)
    rows = connection.execute(COUNTED, (until,)).fetchall()
    return row | {"until": until, "rows": rows, "held": connection.execute(ahead.HELD).fetchall()}


def look() -> float:
    """Count anew if it is time and nobody else does. Returns the seconds until it is time again."""
    with db.transaction() as connection:
        row = connection.execute(DUE).fetchone()
        if row is None:
            return LEAST_S
        wait_s = _every_s(row["took_s"]) - row["age_s"]
        return wait_s if wait_s > 0 else _every_s(_count(connection))


def _count(connection: db.Connection) -> float:
    # Nobody waits for it, and it locks only its row. A million rows are found in a bitmap of this size, not read twice.
    connection.execute("SET LOCAL statement_timeout = '10min'")
    connection.execute("SET LOCAL work_mem = '64MB'")
    given = ahead.parameters(ahead.span(connection, DAYS + 1), "day", "UTC")
    [row] = connection.execute(COUNT, given, prepare=False).fetchall()
    return float(row["took_s"])


def _every_s(took_s: float) -> float:
    return max(LEAST_S, SHARE * took_s)


def loop(stopping: threading.Event) -> None:
    """Look again and again; an error is told, and tried again after a moment."""
    wait_s = 0.0
    while not stopping.wait(wait_s):
        try:
            wait_s = look()
        except Exception as error:  # noqa: BLE001  # the loop must outlive whatever happens in it
            logs.get().warning("forecast_not_counted", **logs.place(error))
            wait_s = LEAST_S
