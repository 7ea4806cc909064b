"""The nightly check: what it counts is written down and exported, and upstream hears of a ledger that drifted."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.counts import Asked
from shared.invariants import INVARIANTS
from shared.messages import CheckInvariants
from tests.kinds import Deliver, Issue, JobOf, Setting, Sql


def test_every_count_is_written_down_and_exported(card: Issue, deliver: Deliver, job: JobOf, sql: Sql) -> None:
    card()

    (job_id,) = deliver(CheckInvariants())

    assert job(job_id)["state"] == "succeeded"
    assert gauge("invariant_violations") == {one.id: 0 for one in INVARIANTS}
    assert min(gauge("invariant_checked_timestamp_seconds").values()) > 1.7e9
    assert sql("SELECT FROM events") == []


def test_a_ledger_that_drifted_is_told_upstream_and_counted(
    card: Issue, deliver: Deliver, sql: Sql, caplog: Any, capfd: Any
) -> None:
    card_id = card()
    sql("UPDATE gift_cards SET balance = 99 WHERE id = %s", card_id)

    deliver(CheckInvariants())

    assert gauge("invariant_violations")["I1"] == 1
    assert "invariant_broken" in caplog.text + "".join(capfd.readouterr())
    assert sql("SELECT type, subject, data FROM events") == [
        {"type": "ledger.drift", "subject": card_id, "data": {"violations": "1"}}
    ]


def test_a_check_that_is_repeated_shows_the_last_counts(card: Issue, deliver: Deliver, sql: Sql) -> None:
    card_id = card()
    sql("UPDATE gift_cards SET balance = 99 WHERE id = %s", card_id)
    deliver(CheckInvariants())
    sql("UPDATE gift_cards SET balance = 25 WHERE id = %s", card_id)

    deliver(CheckInvariants())

    assert gauge("invariant_violations")["I1"] == 0


def test_what_is_not_counted_in_time_keeps_its_last_count_and_fails_the_job(
    deliver: Deliver, job: JobOf, setting: Setting, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = INVARIANTS[0].__class__("I1", "", "", "SELECT count(pg_sleep(30))")
    monkeypatch.setattr("services.cleanup.checking.INVARIANTS", (slow, *INVARIANTS[1:]))
    setting(check_limit_s=0.5)

    (job_id,) = deliver(CheckInvariants())

    row = job(job_id)
    assert (row["state"], row["reason"]) == ("failed", "check_incomplete")
    assert "I1 took longer than JOBS_CHECK_LIMIT_S" in row["error"]
    assert gauge("invariant_violations").keys() == {one.id for one in INVARIANTS[1:]}


def test_another_database_may_be_asked(
    card: Issue, database: str, deliver: Deliver, job: JobOf, setting: Setting, sql: Sql
) -> None:
    setting(check_database_url=database + "?options=-cdefault_transaction_read_only%3Don")

    (job_id,) = deliver(CheckInvariants())

    assert job(job_id)["state"] == "succeeded"


def gauge(name: str) -> dict[str, Any]:
    [family] = [family for family in Asked().collect() if family.name == name]
    return {sample.labels["invariant"]: sample.value for sample in family.samples}
