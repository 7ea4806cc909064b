"""A process killed twenty times over a report: the provider gets no answer, reports again, and it counts once."""

from __future__ import annotations

import json

import pytest

from shared.messages import hint
from tests.delivery.hooks import sent
from tests.failpoints.conftest import KILLS, Die, Run
from tests.kinds import Issue, Sql


@pytest.mark.parametrize("point", ["report-taken", "report-applied"])
def test_a_report_whose_process_dies_counts_once_it_is_made_again(
    point: str, die: Die, run: Run, card: Issue, sql: Sql
) -> None:
    reports = []
    for n in range(KILLS):
        address = hint(f"ada{n}@example.com")
        card_id = card(recipient_email=f"ada{n}@example.com", recipient_phone=None)
        delivery_id = sent(sql, card_id, address_hash=address)
        about = {"provider": "ses", "event_id": f"e{n}", "kind": "hard_bounce", "code": "5.1.1", "address": address}
        reports.append(json.dumps(about | {"delivery_id": str(delivery_id)}))

    for report in reports:
        die(point, "report", report, times=1)
    assert sql("SELECT FROM provider_events") == sql("SELECT FROM suppressions") == []
    for report in reports * 2:
        assert run("report", report)["ended"] == 0

    assert len(sql("SELECT FROM provider_events WHERE applied_at IS NOT NULL")) == KILLS
    assert sql("SELECT state, count(*) AS n FROM deliveries WHERE kind = 'gift' GROUP BY state") == [
        {"state": "bounced", "n": KILLS}
    ]
    assert len(sql("SELECT FROM suppressions WHERE reason = 'hard_bounce'")) == KILLS
    assert len(sql("SELECT FROM events WHERE type = 'delivery.bounced'")) == KILLS
