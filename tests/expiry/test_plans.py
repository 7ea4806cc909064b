"""The sweeps of every minute read what is due, not the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.expiry import cards, reminders
from shared import db, dry_run
from shared.settings import settings
from tests.plans import nodes

MANY = """
INSERT INTO gift_cards (currency, balance, code_encrypted, code_last4, expires_on, recipient_email)
SELECT 'EUR', 10, 'x', '1234', current_date + 60 + (n % 1000), 'ada@example.com' FROM generate_series(1, 20000) n
"""


@pytest.mark.parametrize(
    "statement", [cards.NEXT_DUE, reminders.PLAN, dry_run.DUE], ids=["next due", "plan", "dry run"]
)
def test_no_sweep_reads_the_whole_table_of_cards(
    statement: Any, database: str, sql: Callable[..., list[dict[str, Any]]]
) -> None:
    sql(MANY)
    sql("ANALYZE gift_cards")
    given = {
        "rows": 1000,
        "as_of": None,
        "now": datetime.now(UTC),
        "broken": [],
        "days": [30, 7, 1],
        "hour": settings().reminder_hour,
    }

    with db.transaction() as connection:
        row = connection.execute("EXPLAIN (FORMAT JSON) " + statement, given).fetchone()

    assert row is not None
    plan = row["QUERY PLAN"]
    plan = json.loads(plan) if isinstance(plan, str) else plan
    reads = [n for n in nodes(plan[0]["Plan"]) if n.get("Relation Name") == "gift_cards"]
    reads += [n for n in nodes(plan[0]["Plan"]) if n["Node Type"] == "Bitmap Index Scan"]
    assert any("expires_at" in n.get("Index Cond", "") for n in reads), "the search does not end at the last due card"
    assert all(n["Node Type"] != "Seq Scan" for n in reads)
