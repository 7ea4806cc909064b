"""Acts on many jobs: fixed when shown, confirmed by their number, paced, and never done twice whoever crashes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from services.console import bulk, bulk_turns, job_acts
from services.console.searching import Search
from services.console.session import Refused
from shared import db
from tests.console.conftest import Cli, Made
from tests.kinds import Eventually, JobOf, Sql

FAILED = Search(state="unsuccessful")


def prepared(act: str, what: Any = FAILED, **given: Any) -> UUID:
    with db.transaction() as connection:
        return bulk.prepare(connection, act, what, by="ada", **given)


def shown(one: UUID) -> dict[str, Any]:
    with db.transaction() as connection:
        return bulk.show(connection, one)


def started(act: str, what: Any = FAILED, **given: Any) -> UUID:
    one = prepared(act, what, **given)
    with db.transaction() as connection:
        bulk.start(connection, one, bulk.show(connection, one)["total"], by="ada", why="relay was down")
    return one


@pytest.fixture
def service() -> str:
    """Run as the console's own role."""
    return "console"


def test_it_says_first_how_many_it_is_for_and_why_not_the_others_and_does_nothing(made: Made, job: JobOf) -> None:
    failed = [made("failed", attempt=1) for _ in range(3)]
    unread, away = made("rejected", reason="invalid"), made("failed", discarded_at="now")

    found = shown(prepared("retry"))

    assert (found["state"], found["total"], found["done"]) == ("prepared", 3, 0)
    assert {row["refusal"]: row["examples"] for row in found["refusals"]} == {
        "rejected unread (invalid): send it again, mended": [unread],
        "it was put away: retry it by itself": [away],
    }
    assert bulk_turns.turn() is False
    assert {job(each)["state"] for each in failed} == {"failed"}


def test_it_is_for_those_that_were_shown_and_not_for_what_fails_meanwhile(made: Made, job: JobOf) -> None:
    shown_one = made("failed", attempt=1)
    one = prepared("retry")
    later = made("failed", attempt=1)

    with db.transaction() as connection:
        bulk.start(connection, one, 1, by="ada", why="relay was down")
    bulk_turns.turn()

    assert (job(shown_one)["state"], job(later)["state"]) == ("scheduled", "failed")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_than_theirs_confirms_nothing(made: Made, count: int) -> None:
    for _ in range(2):
        made("failed", attempt=1)
    one = prepared("retry")

    with db.transaction() as connection, pytest.raises(Refused, match=f"for 2 jobs, not {count}"):
        bulk.start(connection, one, count, by="ada", why="x")

    assert shown(one)["state"] == "prepared"


def test_it_is_confirmed_once(made: Made) -> None:
    made("failed", attempt=1)
    one = started("retry")

    with db.transaction() as connection, pytest.raises(Refused, match="it is running"):
        bulk.start(connection, one, 1, by="ada", why="x")


def test_it_goes_so_many_a_second_and_tells_how_far_it_is(made: Made, sql: Sql) -> None:
    for _ in range(5):
        made("failed", attempt=1)
    one = started("retry", per_s=2)

    assert (bulk_turns.turn(), bulk_turns.turn()) == (True, False)
    assert (shown(one)["done"], shown(one)["state"]) == (2, "running")
    for done, state in ((4, "running"), (5, "done")):
        sql("UPDATE bulk_actions SET next_at = clock_timestamp()")
        bulk_turns.turn()
        assert (shown(one)["done"], shown(one)["state"]) == (done, state)

    assert [(row["result"], row["jobs"]) for row in shown(one)["results"]] == [("retried", 5)]


def test_aborted_it_stays_where_it_is(made: Made, sql: Sql) -> None:
    for _ in range(3):
        made("failed", attempt=1)
    one = started("retry", per_s=1)
    bulk_turns.turn()

    with db.transaction() as connection:
        bulk.abort(connection, one, by="bob", why="wrong queue")
        with pytest.raises(Refused, match="it is aborted"):
            bulk.abort(connection, one, by="bob", why="again")
    sql("UPDATE bulk_actions SET next_at = clock_timestamp()")

    assert bulk_turns.turn() is False
    assert sql("SELECT count(*) AS left FROM jobs WHERE state = 'failed'") == [{"left": 2}]
    assert [row["action"] for row in sql("SELECT action FROM audit WHERE subject = %s ORDER BY id", str(one))] == [
        "bulk.started",
        "bulk.aborted",
    ]


def test_what_changed_meanwhile_is_left_and_told(made: Made, sql: Sql) -> None:
    changed, gone = made("failed", attempt=1), made("failed", attempt=1)
    one = started("retry")
    sql("UPDATE jobs SET state = 'scheduled' WHERE id = %s", changed)
    sql("DELETE FROM jobs WHERE id = %s", gone)

    bulk_turns.turn()

    assert [(row["result"], row["jobs"]) for row in shown(one)["results"]] == [("too_late", 2)]
    assert sql("SELECT FROM audit WHERE action = 'job.retried'") == []


@pytest.mark.parametrize(
    ("act", "before", "after", "action"),
    [
        ("retry", "failed", "scheduled", "job.retried"),
        ("discard", "failed", "failed", "job.discarded"),
        ("cancel", "scheduled", "cancelled", "job.cancelled"),
        ("promote", "scheduled", "scheduled", "job.promoted"),
        ("move", "scheduled", "scheduled", "job.moved"),
    ],
)
def test_each_act_changes_selected_jobs_and_keeps_who_did_it_to_each(
    made: Made, job: JobOf, sql: Sql, act: str, before: str, after: str, action: str
) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    chosen = [made(before, attempt=1, run_at=later) for _ in range(2)]
    other = made(before, attempt=1)
    there = {"run_at": datetime(2198, 1, 1, tzinfo=UTC)} if act == "move" else {}

    one = started(act, chosen, **there)
    bulk_turns.turn()

    assert {job(each)["state"] for each in chosen} == {after}
    kept = sql("SELECT subject, who, reason, details ->> 'bulk' AS bulk FROM audit WHERE action = %s", action)
    assert {row["subject"] for row in kept} == {str(each) for each in chosen}
    assert {(row["who"], row["reason"], row["bulk"]) for row in kept} == {("ada", "relay was down", str(one))}
    assert job(other)["state"] == before
    if there:
        assert {job(each)["run_at"] for each in chosen} == {there["run_at"]}
    elif act == "promote":
        assert all(job(each)["run_at"] < later for each in chosen)


def test_a_move_needs_a_time_and_nothing_else_takes_one(made: Made) -> None:
    for act, run_at in (("move", None), ("cancel", datetime.now(UTC))):
        with pytest.raises(Refused, match="give run_at"):
            prepared(act, run_at=run_at)


def test_two_consoles_share_the_work_and_do_nothing_twice(made: Made, sql: Sql) -> None:
    for _ in range(40):
        made("failed", attempt=1)
    one = started("retry", per_s=5)

    def work(_: int) -> None:
        while shown(one)["state"] == "running":
            sql_at_once("UPDATE bulk_actions SET next_at = clock_timestamp() WHERE state = 'running'")
            bulk_turns.turn()

    def sql_at_once(statement: str) -> None:
        with psycopg.connect(os.environ["JOBS_DATABASE_URL"], autocommit=True) as connection:
            connection.execute(statement.encode())

    with ThreadPoolExecutor(3) as consoles:
        list(consoles.map(work, range(3)))

    kept = sql("SELECT subject FROM audit WHERE action = 'job.retried'")
    assert (len(kept), len({row["subject"] for row in kept})) == (40, 40)


def test_killed_in_the_middle_of_a_slice_it_is_gone_on_with_and_nothing_is_done_twice(
    made: Made, sql: Sql, database: str, eventually: Eventually
) -> None:
    jobs = sorted(made("failed", attempt=1) for _ in range(3))
    one = started("retry")

    with psycopg.connect(database) as holder:
        holder.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (jobs[-1],))
        console = subprocess.Popen([sys.executable, "-c", "from services.console.bulk_turns import turn; turn()"])
        waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        eventually(lambda: sql(waits))
        assert bulk_turns.turn() is False, "it is in another console's hands"
        console.kill()
        console.wait()
    eventually(lambda: bulk_turns.turn() or shown(one)["state"] == "done")

    assert (shown(one)["state"], shown(one)["done"]) == ("done", 3)
    assert len(sql("SELECT FROM audit WHERE action = 'job.retried'")) == 3


def test_one_that_cannot_go_on_just_now_does_not_hold_up_the_others(
    made: Made, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = made("failed", attempt=1), made("failed", attempt=1)
    first, second = started("discard", [broken]), started("retry", [other])
    monkeypatch.setitem(job_acts.ELIGIBLE, "discard", "1 / 0 = 1")

    for _ in range(3):
        bulk_turns.turn()

    assert (shown(first)["state"], shown(first)["done"]) == ("running", 0)
    assert shown(second)["state"] == "done"


def test_more_than_it_may_be_for_at_once_are_cut_off_at_the_oldest_and_that_is_said(
    made: Made, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    monkeypatch.setattr(bulk, "LARGEST", 2)
    jobs = [made("failed", attempt=1, finished_at=datetime.now(UTC) - timedelta(minutes=n)) for n in range(3)]

    found = shown(prepared("retry"))

    assert (found["total"], found["capped"]) == (2, True)
    taken = {row["job_id"] for row in sql("SELECT job_id FROM bulk_action_items")}
    assert taken == set(jobs[:2])


def test_a_discarded_job_is_out_of_the_failures_and_in_the_record(made: Made, cli: Cli, job: JobOf) -> None:
    job_id = made("failed", reason="stalled")

    result = cli("discard", job_id, "--reason", "refunded by hand")

    assert result.exit_code == 0, result.output
    assert (job(job_id)["state"], job(job_id)["discarded_at"] is None) == ("failed", False)
    assert "stalled" not in cli("failed").output
    assert "put away before" in cli("discard", job_id, "--reason", "again").output
    cli("retry", job_id, "--reason", "after all", "--yes")
    assert (job(job_id)["state"], job(job_id)["discarded_at"]) == ("scheduled", None)
