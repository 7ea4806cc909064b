"""A job asked for over HTTP goes through the SQL door, which says what does not fit."""

from __future__ import annotations

import pytest

from tests.console.web.conftest import PASSWORD, Browser
from tests.kinds import Issue, Sql

OTTO = ("otto", PASSWORD)


def test_a_job_is_sent_with_its_reason_and_once_per_key(browser: Browser, card: Issue, sql: Sql) -> None:
    job = {
        "name": "deliver_gift_card",
        "data": {"gift_card_id": str(card()), "method": "email"},
        "dedupe_key": "gift:4711",
        "reason": "she asked on the phone",
    }

    first = browser().post("/api/v1/jobs", json=job, auth=OTTO)
    second = browser().post("/api/v1/jobs", json=job, auth=OTTO)

    assert first.status_code == 201
    assert first.json() == second.json()
    assert sql("SELECT id::text, name, source FROM jobs") == [
        {"id": first.json()["id"], "name": "deliver_gift_card", "source": "console"}
    ]
    assert sql("SELECT DISTINCT who, subject FROM audit") == [{"who": "otto", "subject": first.json()["id"]}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "make_coffee"}, "make_coffee"),
        ({"name": "expire_gift_card", "data": {"gift_card_id": "none"}}, "gift_card_id"),
        ({"data": {"as_of": "\x00"}}, "Unicode"),
        ({"run_at": "9999-01-01T00:00:00Z"}, "2200"),
        ({"run_at": "2026-12-25T09:00"}, "run_at"),
        ({"reason": ""}, "say why"),
    ],
)
def test_what_does_not_fit_is_refused_by_field_and_nothing_is_kept(
    browser: Browser, sql: Sql, change: dict[str, object], says: str
) -> None:
    job = {"name": "prune_history", "data": {}, "reason": "asked on the phone"} | change

    answer = browser().post("/api/v1/jobs", json=job, auth=OTTO)

    assert answer.status_code in (409, 422)
    assert says in answer.json()["detail"]
    assert sql("SELECT FROM jobs") == sql("SELECT FROM audit") == []
