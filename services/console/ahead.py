"""What lies ahead: one statement for each of jobs, reminders yet to be planned, and expiring cards.

Each reads an index from now to a day, never a whole table, and gives rows of ``at`` (the beginning of the hour or day),
``queue``, ``what``, ``currency``, ``count`` and ``money``. That takes longer the more lies ahead: see ``lookout``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, LiteralString

from shared import db
from shared.messages import QUEUES
from shared.settings import settings

# The index jobs_due is searched by queue and priority, as the relay does. What is overdue fires at once.
JOBS: LiteralString = """
SELECT at, queue, name AS what, currency, sum(count)::bigint AS count, sum(money) AS money
FROM unnest(%(queues)s::text[]) AS q (queue), generate_series(0, 2) AS p (priority), LATERAL (
    SELECT date_trunc(%(by)s, greatest(run_at, %(now)s), %(zone)s) AS at, j.name, c.currency, count(*) AS count,
        sum(c.balance) AS money
    FROM jobs j LEFT JOIN gift_cards c ON c.id = j.gift_card_id
    WHERE j.queue = q.queue AND j.priority = p.priority AND j.state = 'scheduled' AND j.run_at <= %(until)s
    GROUP BY 1, 2, 3
) due
GROUP BY at, queue, name, currency
"""

# As services/expiry plans them, but by day, zone and currency: a wall time is turned into an instant once for each of
# these, not for each card. What is planned already is among the jobs; only the coming days can be.
REMINDERS: LiteralString = """
WITH cards AS MATERIALIZED (
    SELECT d.days, c.expires_on, c.expires_at, c.time_zone, c.currency, count(*) AS count, sum(c.balance) AS money
    FROM unnest(%(days)s::integer[]) AS d (days), gift_cards c
    WHERE c.status = 'ACTIVE' AND c.expiry_hold IS DISTINCT FROM 'unreached' AND c.balance > 0
        AND c.recipient_email IS NOT NULL
        AND c.expires_at BETWEEN %(first)s AND %(last)s
        AND c.expires_at - make_interval(days => d.days)
            BETWEEN %(now)s - interval '2 days' AND %(until)s + interval '2 days'
        AND CASE WHEN c.expires_at < %(now)s + make_interval(days => d.days + 4) THEN (
            SELECT 1 FROM job_keys k
            WHERE k.dedupe_key = 'reminder:' || c.id || ':v' || c.expiry_version || ':d' || d.days LIMIT 1) END IS NULL
    GROUP BY 1, 2, 3, 4, 5
), timed AS MATERIALIZED (
    SELECT cards.*, wall_instant((expires_on - days)::timestamp + make_interval(hours => %(hour)s), time_zone) AS run_at
    FROM cards
)
SELECT date_trunc(%(by)s, run_at, %(zone)s) AS at, 'expiry-reminders' AS queue,
    'reminder, ' || days || ' days before' AS what, currency, sum(count)::bigint AS count, sum(money) AS money
FROM timed WHERE run_at BETWEEN %(now)s AND %(until)s AND run_at < expires_at
GROUP BY 1, days, currency
"""

EXPIRING: LiteralString = """
SELECT date_trunc(%(by)s, greatest(expires_at, %(now)s), %(zone)s) AS at, 'gift-card-expiry' AS queue,
    'cards expire' AS what, currency, count(*) AS count, sum(balance) AS money
FROM gift_cards
WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached' AND expires_at <= %(until)s
GROUP BY 1, currency
"""

# Their gift reached nobody, so they do not expire before somebody says so; see `release`.
HELD: LiteralString = """
SELECT currency, count(*) AS count, sum(balance) AS money FROM gift_cards WHERE expiry_hold = 'unreached'
GROUP BY currency ORDER BY currency
"""


def forecast(connection: db.Connection, *, days: float, by: str, zone: str) -> dict[str, Any]:
    """Say what will fire from now on.

    Parameters:
        by: ``hour`` or ``day``, as they begin in ``zone``, an IANA name.

    Returns:
        ``now``, ``until``, ``rows`` in order of time, and ``held``: cards that do not expire, by currency.
    """
    found = span(connection, days)
    given = parameters(found, by, zone)
    rows = [row for part in (JOBS, REMINDERS, EXPIRING) for row in connection.execute(part, given)]
    rows.sort(key=lambda row: (row["at"], row["queue"], row["what"], row["currency"] or ""))
    return found | {"by": by, "zone": zone, "rows": rows, "held": connection.execute(HELD).fetchall()}


def span(connection: db.Connection, days: float) -> dict[str, datetime]:
    """Give ``now`` by the database's clock, and ``until``, so many days later."""
    [found] = connection.execute(
        "SELECT clock_timestamp() AS now, clock_timestamp() + make_interval(secs => %s) AS until", (days * 86400,)
    ).fetchall()
    return found


def parameters(found: dict[str, datetime], by: str, zone: str) -> dict[str, Any]:
    """Give the values of all three statements."""
    own = settings()
    return found | {
        "queues": list(QUEUES),
        "days": list(own.reminder_days),
        "first": found["now"] + timedelta(days=min(own.reminder_days, default=0) - 2),
        "last": found["until"] + timedelta(days=max(own.reminder_days, default=0) + 2),
        "hour": own.reminder_hour,
        "by": by,
        "zone": zone,
    }
