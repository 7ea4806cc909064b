"""What lies ahead: a strip of thirty days, and its rows."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Query

from services.console import lookout
from services.console.web.screens import screen
from shared import db


@screen("/forecast", "forecast.html")
def forecast(days: Annotated[int, Query(ge=1, le=lookout.DAYS)] = 30) -> dict[str, Any]:
    """Say what will fire on each of the coming days (UTC), with the money at stake, as a console counted it last."""
    with db.transaction() as connection:
        found = lookout.counted(connection, days)
    return found | {"days": by_day(found["rows"], found["until"] - timedelta(days=days + 1), days)}


def by_day(rows: list[dict[str, Any]], first_at: datetime, days: int) -> list[dict[str, Any]]:
    """Sum rows up: a ``day``, its ``count``, and ``money``, a sum by currency."""
    first = first_at.astimezone(UTC).date()
    counts: dict[date, int] = defaultdict(int)
    money: dict[date, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        day = row["at"].astimezone(UTC).date()
        counts[day] += row["count"]
        if row["currency"]:
            money[day][row["currency"]] += row["money"]
    coming = [first + timedelta(days=n) for n in range(days + 1)]
    return [{"day": day, "count": counts[day], "money": dict(money[day])} for day in coming]
