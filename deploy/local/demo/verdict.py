"""What became of the demonstration: numbers from the rows, the promises checked against rows and inbox."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow

from deploy.local.demo.upstream import Case
from shared.invariants import violations

Inbox = list[dict[str, Any]]

OUTCOMES = """
SELECT name, state, coalesce(reason, '') AS reason, count(*) AS jobs FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
DELIVERIES = """
SELECT kind, channel, state, coalesce(reason, '') AS reason, count(*) AS deliveries, sum(resends) AS resends
FROM deliveries GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
EXPIRED = """
SELECT currency, count(*) AS cards, sum(-amount)::text AS amount FROM transactions WHERE type = 'EXPIRY'
GROUP BY 1 ORDER BY 1
"""
REJECTED = """
SELECT reason, count(*) AS jobs, error AS mend FROM jobs WHERE state = 'rejected' GROUP BY 1, 3 ORDER BY 1, 3
"""
UNFINISHED = """
SELECT count(*) FROM jobs WHERE finished_at IS NULL AND run_at < clock_timestamp() + interval '15 seconds'
"""
SETTLED = """
SELECT channel, settled_by, count(*) AS deliveries FROM deliveries WHERE settled_by IS NOT NULL GROUP BY 1, 2
"""
RESENDS = "SELECT coalesce(sum(resends), 0) AS count FROM deliveries"
TOKENS = "SELECT count(*) FROM refresh_tokens"


def report(
    connection: psycopg.Connection[DictRow], cases: list[Case], inbox: Inbox, live_tokens: int
) -> dict[str, Any]:
    """Give all numbers: outcomes, deliveries, money, rejections, and each promise with its violations."""
    with connection.cursor() as cursor:
        numbers = {
            "cards": len(cases),
            "stories": dict(Counter(case.story for case in cases)),
            "accepted": dict(Counter(entry["channel"] for entry in inbox)),
            "deliveries": cursor.execute(DELIVERIES).fetchall(),
            "answers_lost": cursor.execute(SETTLED).fetchall(),
            "expired": cursor.execute(EXPIRED).fetchall(),
            "rejected": cursor.execute(REJECTED).fetchall(),
            "jobs": cursor.execute(OUTCOMES).fetchall(),
        }
        left = cursor.execute(TOKENS).fetchone()["count"]  # type: ignore[index]  # count always has a row
        numbers["tokens"] = {"left": left, "live": live_tokens}
        unfinished = cursor.execute(UNFINISHED).fetchone()["count"]  # type: ignore[index]
        resends = cursor.execute(RESENDS).fetchone()["count"]  # type: ignore[index]
        found = violations(cursor.connection)
    promises = {
        **people(cases, inbox, int(resends)),
        "every job reaches a final state": unfinished,
        "a live token is never deleted": abs(live_tokens - left),
        **found,
    }
    return numbers | {"promises": promises, "kept": not any(promises.values())}


def people(cases: list[Case], inbox: Inbox, resends: int) -> dict[str, int]:
    """Compare what each person got with what they were to get."""
    got: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in inbox:
        got[entry["to"]].append(entry)
    lost = doubled = early = 0
    for case in cases:
        mine = [entry for address in case.to for entry in got.pop(address, [])]
        for channel, wanted in (("email", case.mails), ("sms", case.texts)):
            number = sum(entry["channel"] == channel for entry in mine)
            lost += max(0, wanted - number)
            doubled += max(0, number - wanted)
        early += sum(case.not_before is not None and _at(entry) < case.not_before for entry in mine)
    return {
        "no gift and no reminder is lost": lost,
        "nothing is sent twice, or to nobody's order (but counted resends)": max(0, doubled - resends),
        "nothing is sent early": early,
        "nothing goes to a replaced or unknown address": sum(map(len, got.values())),
    }


def _at(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])
