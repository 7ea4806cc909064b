"""Acting: cancel, move, promote, pause, rate, and what is refused, each in one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

import services.expiry.actors  # noqa: F401  # registers the actors
from shared.broker import get_broker
from shared.messages import ExpireDueGiftCards, ExpireGiftCard
from shared.publisher import Publisher
from tests.console.conftest import Cli, Made
from tests.kinds import Deliver, Eventually, Issue, JobOf, Setting, Sql, StartWorker

WHY = ("--reason", "x")


def test_a_job_is_cancelled_moved_and_promoted_by_its_key_and_each_act_is_kept(cli: Cli, job: JobOf, sql: Sql) -> None:
    [row] = sql("SELECT enqueue_job('prune_history', run_at => '2199-01-01Z', dedupe_key => 'k') AS id")

    assert cli("move", "k", "2026-12-25T09:00", "--zone", "Europe/Berlin", *WHY).output == "moved\n"
    assert job(row["id"])["run_at"] == datetime(2026, 12, 25, 8, tzinfo=UTC)
    assert cli("move", "k", "2026-12-25T09:00:00-05:00", *WHY).exit_code == 0
    assert job(row["id"])["run_at"] == datetime(2026, 12, 25, 14, tzinfo=UTC)
    assert cli("promote", "k", *WHY).output == "promoted\n"
    assert job(row["id"])["run_at"] <= datetime.now(UTC) + timedelta(seconds=5)
    assert cli("cancel", row["id"], "--reason", "not needed").output == "cancelled\n"

    assert job(row["id"])["state"] == "cancelled"
    acts = sql("SELECT action, subject, reason FROM audit ORDER BY id")
    assert [act["action"] for act in acts] == ["job.moved", "job.moved", "job.promoted", "job.cancelled"]
    assert {act["subject"] for act in acts} == {str(row["id"])}
    assert (acts[0]["reason"], acts[-1]["reason"]) == ("x", "not needed")


def test_a_running_job_is_asked_to_stop(made: Made, cli: Cli, job: JobOf) -> None:
    job_id = made("running")

    assert "stops at its next step" in cli("cancel", job_id, *WHY).output
    assert job(job_id)["cancel_requested"]


def test_a_paused_queue_rests_and_goes_on_when_resumed(
    card: Issue,
    cli: Cli,
    worker: StartWorker,
    publisher: Publisher,
    sql: Sql,
    job: JobOf,
    eventually: Eventually,
) -> None:
    assert cli("pause", "gift-card-expiry", "--reason", "audit").exit_code == 0
    [control] = sql("SELECT pause_reason, paused_by FROM queue_controls")
    assert (control["pause_reason"], bool(control["paused_by"])) == ("audit", True)
    worker("gift-card-expiry")
    eventually(lambda: "gift-card-expiry" in get_broker().pauses)
    job_id = publisher.send(ExpireGiftCard(gift_card_id=card(expired=True)))

    assert "goes on" in cli("resume", "gift-card-expiry", *WHY).output
    eventually(lambda: "gift-card-expiry" not in get_broker().pauses)
    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = 'succeeded'", job_id))

    assert "was not paused" in cli("resume", "gift-card-expiry", *WHY).output


def test_a_rate_is_set_for_all_workers_and_given_back_to_the_settings(cli: Cli, sql: Sql) -> None:
    cli("rate", "sms-delivery", "2.5", *WHY)
    assert sql("SELECT rate_per_s FROM queue_controls") == [{"rate_per_s": 2.5}]

    cli("rate", "sms-delivery", "default", *WHY)

    assert sql("SELECT rate_per_s FROM queue_controls") == [{"rate_per_s": None}]
    assert [row["details"] for row in sql("SELECT details FROM audit ORDER BY id")] == [
        {"rate_per_s": 2.5},
        {"rate_per_s": None},
    ]


def test_jobs_of_the_timetable_are_asked_for_now(cli: Cli, sql: Sql) -> None:
    assert cli("prune", *WHY).exit_code == 0
    assert cli("run", "expire_due_gift_cards", "--urgent", *WHY).exit_code == 0

    rows = sql("SELECT name, state, priority FROM jobs ORDER BY enqueued_at")
    assert [(row["name"], row["state"], row["priority"]) for row in rows] == [
        ("prune_history", "scheduled", 1),
        ("expire_due_gift_cards", "scheduled", 0),
    ]
    assert [row["action"] for row in sql("SELECT action FROM audit")] == ["job.asked"] * 2


def test_a_pulled_brake_is_shown_and_released_for_one_sweep(
    card: Issue, deliver: Deliver, cli: Cli, job: JobOf, sql: Sql, setting: Setting
) -> None:
    setting(brake_amounts='{"EUR": 40}')
    for _ in range(2):
        card(expired=True)
    [stopped] = deliver(ExpireDueGiftCards())

    assert job(stopped)["reason"] == "braked"
    assert "2 cards are due, over 40 EUR; look, then: release brake" in cli("counts").output
    assert cli("release", "brake", "--reason", "looked at").exit_code == 0
    deliver(ExpireDueGiftCards())

    assert sql("SELECT count(*) AS expired FROM gift_cards WHERE status = 'EXPIRED'") == [{"expired": 2}]
    assert sql("SELECT action, reason FROM audit") == [{"action": "expiry.released", "reason": "looked at"}]


def test_a_card_that_is_held_is_released_to_expire(
    card: Issue, deliver: Deliver, cli: Cli, job: JobOf, sql: Sql
) -> None:
    card_id = card(expired=True, expiry_hold="unreached")
    [held] = deliver(ExpireGiftCard(gift_card_id=card_id))

    assert job(held)["reason"] == "unreached"
    assert cli("release", card_id, "--reason", "buyer was told").exit_code == 0
    deliver(ExpireGiftCard(gift_card_id=card_id))

    assert sql("SELECT status FROM gift_cards") == [{"status": "EXPIRED"}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["job", str(UUID(int=1))], "no job has the id or key"),
        (["cancel", "no-such-key", "--reason", "x"], "no job has the id or key 'no-such-key'"),
        (["move", "k", "tomorrow", "--reason", "x"], "'tomorrow' is no time"),
        (
            ["move", "k", "2026-12-25T09:00", "--zone", "Mars/Phobos", "--reason", "x"],
            "unknown time zone 'Mars/Phobos'",
        ),
        (["retry", str(UUID(int=1)), "--reason", "x", "--yes"], "no job has the id"),
        (["retry", "--reason", "x"], "give the jobs' ids, or --name NAME --all"),
        (["retry", "--name", "no_such", "--all", "--reason", "x"], "no message is called 'no_such'"),
        (["rate", "sms-delivery", "0", "--reason", "x"], "to stop a queue, use pause"),
        (["rate", "sms-delivery", "fast", "--reason", "x"], "'fast' is no rate"),
        (["pause", "nowhere", "--reason", "x"], "no queue is called 'nowhere'"),
        (["jobs", "--state", "done"], "no state is called 'done'"),
        (["release", "brake", "--reason", "x"], "the brake is not pulled"),
        (["release", str(UUID(int=1)), "--reason", "x"], "is held"),
        (["release", "everything", "--reason", "x"], "neither 'brake' nor 'breaker' nor a card's id"),
        (["run", "expire_gift_card", "--reason", "x"], "expire_gift_card needs fields"),
        (["story", str(UUID(int=1))], "there is no card"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(cli: Cli, words: list[str], says: str) -> None:
    result = cli(*words)

    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_too_late_is_said_in_one_line(made: Made, cli: Cli) -> None:
    job_id = made("succeeded")

    for words in (["cancel"], ["move"], ["promote"]):
        times = ["2026-12-25T09:00"] if words == ["move"] else []
        result = cli(*words, job_id, *times, *WHY)
        assert (result.exit_code, result.stderr) == (1, f"error: too late: {job_id} has started or ended\n")


def test_as_a_process_it_says_what_is_wrong_without_a_traceback(database: str) -> None:
    def ends(*words: str, **env: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "services.console.cli", *words]
        done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    assert ends("counts") == (0, "")
    away = ends("counts", JOBS_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    empty = ends("counts", JOBS_DATABASE_URL=database.rsplit("/", 1)[0] + "/postgres")
    unset = ends("counts", JOBS_DATABASE_URL="")

    assert away[0] == empty[0] == 1
    assert away[1].startswith("error: cannot reach the database")
    assert empty[1].startswith("error: this database has no tables of ours: migrate it first")
    assert unset[0] == 1
    assert all("Traceback" not in text for _, text in (away, empty, unset))
