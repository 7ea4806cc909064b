"""Acting: retry with history, cancel, move, promote, pause, rate, and what is refused, each in one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

import services.expiry.actors  # noqa: F401  # registers the actors
from shared.controls import Pauses
from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.console.conftest import Cli, Made
from tests.kinds import Deliver, Eventually, Issue, JobOf, Sql, StartWorker


def test_a_retried_job_is_the_same_job_with_its_history_and_new_attempts(
    made: Made, cli: Cli, job: JobOf, sql: Sql
) -> None:
    job_id = made("failed", reason="retries_exhausted", error_type="TimeoutError", attempt=4, max_attempts=4, stalls=1)

    result = cli("retry", job_id, "--reason", "relay was down", "--yes")

    assert result.exit_code == 0, result.output
    row = job(job_id)
    assert (row["state"], row["attempt"], row["max_attempts"], row["stalls"]) == ("scheduled", 4, 8, 0)
    assert row["finished_at"] is None
    [kept] = sql("SELECT * FROM audit WHERE subject = %s", str(job_id))
    assert (kept["action"], kept["reason"], bool(kept["who"])) == ("job.retried", "relay was down", True)
    was = kept["details"]
    assert (was["state"], was["reason"], was["error_type"], was["attempt"]) == (
        "failed",
        "retries_exhausted",
        "TimeoutError",
        4,
    )
    assert "relay was down" in cli("job", job_id).output


def test_a_failed_job_whose_cause_is_mended_succeeds_when_retried(
    card: Issue, deliver: Deliver, cli: Cli, job: JobOf, sql: Sql, ledger: Callable[..., list[Decimal]]
) -> None:
    card_id = card(expired=True)
    sql("UPDATE gift_cards SET balance = 26")
    envelope = Envelope(ExpireGiftCard(gift_card_id=card_id), dedupe_key="expire:once")
    deliver(envelope)
    sql("UPDATE gift_cards SET balance = 25")

    cli("retry", envelope.id, "--reason", "balance mended", "--yes")
    deliver(envelope)

    row = job(envelope.id)
    assert (row["state"], row["attempt"], row["dedupe_key"]) == ("succeeded", 2, "expire:once")
    assert ledger(card_id) == [Decimal(-25)]


def test_a_job_rejected_for_a_card_that_came_late_is_retried(
    card: Issue, deliver: Deliver, cli: Cli, job: JobOf, sql: Sql
) -> None:
    card_id = uuid4()
    envelope = Envelope(ExpireGiftCard(gift_card_id=card_id))
    deliver(envelope)
    sql("UPDATE jobs SET run_at = clock_timestamp(), enqueued_at = enqueued_at - interval '1 hour'")
    deliver(envelope)
    assert job(envelope.id)["state"] == "rejected"
    card(expired=True, id=card_id)

    cli("retry", "--name", "expire_gift_card", "--all", "--reason", "cards imported", "--yes")
    deliver(envelope)

    assert job(envelope.id)["state"] == "succeeded"


def test_a_retry_of_all_shows_the_number_and_asks_first(made: Made, cli: Cli, job: JobOf) -> None:
    failed = [made("failed", message="prune_history", attempt=1) for _ in range(3)]
    unread = made("rejected", message="prune_history", reason="invalid")
    other = made("failed", attempt=1)
    words = ("retry", "--name", "prune_history", "--all", "--reason", "mended")

    dry = cli(*words, "--dry-run")
    declined = cli(*words, answer="n\n")
    assert {job(i)["state"] for i in failed} == {"failed"}
    accepted = cli(*words, answer="y\n")

    assert (dry.exit_code, declined.exit_code, accepted.exit_code) == (0, 1, 0)
    assert "3 can be retried, 1 cannot" in dry.output
    assert f"{unread} prune_history: rejected unread (invalid): send it again, mended" in dry.output
    assert "3 will run again now" in accepted.output
    assert [job(i)["state"] for i in (*failed, unread, other)] == ["scheduled"] * 3 + ["rejected", "failed"]


@pytest.mark.parametrize("state", ["scheduled", "running", "succeeded", "skipped"])
def test_a_job_that_has_not_failed_is_not_retried(made: Made, cli: Cli, job: JobOf, state: str) -> None:
    job_id = made(state)

    result = cli("retry", job_id, "--reason", "why not", "--yes")

    assert result.exit_code == 1
    assert f"it is {state}, not failed" in result.output
    assert job(job_id)["state"] == state


def test_a_job_is_cancelled_moved_and_promoted_by_its_key_and_each_act_is_kept(cli: Cli, job: JobOf, sql: Sql) -> None:
    [row] = sql("SELECT enqueue_job('prune_history', run_at => 'infinity', dedupe_key => 'k') AS id")

    assert cli("move", "k", "2026-12-25T09:00", "--zone", "Europe/Berlin").output == "moved\n"
    assert job(row["id"])["run_at"] == datetime(2026, 12, 25, 8, tzinfo=UTC)
    assert cli("move", "k", "2026-12-25T09:00:00-05:00").exit_code == 0
    assert job(row["id"])["run_at"] == datetime(2026, 12, 25, 14, tzinfo=UTC)
    assert cli("promote", "k").output == "promoted\n"
    assert job(row["id"])["run_at"] <= datetime.now(UTC) + timedelta(seconds=5)
    assert cli("cancel", row["id"], "--reason", "not needed").output == "cancelled\n"

    assert job(row["id"])["state"] == "cancelled"
    acts = sql("SELECT action, subject, reason FROM audit ORDER BY id")
    assert [act["action"] for act in acts] == ["job.moved", "job.moved", "job.promoted", "job.cancelled"]
    assert {act["subject"] for act in acts} == {str(row["id"])}
    assert (acts[0]["reason"], acts[-1]["reason"]) == ("no reason given", "not needed")


def test_a_running_job_is_asked_to_stop(made: Made, cli: Cli, job: JobOf) -> None:
    job_id = made("running")

    assert "stops at its next step" in cli("cancel", job_id).output
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
    assert Pauses().look() == {"gift-card-expiry"}
    [control] = sql("SELECT pause_reason, paused_by FROM queue_controls")
    assert (control["pause_reason"], bool(control["paused_by"])) == ("audit", True)
    worker("gift-card-expiry")
    job_id = publisher.send(ExpireGiftCard(gift_card_id=card(expired=True)))

    assert "goes on" in cli("resume", "gift-card-expiry").output
    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = 'succeeded'", job_id))

    assert "was not paused" in cli("resume", "gift-card-expiry").output


def test_a_rate_is_set_for_all_workers_and_given_back_to_the_settings(cli: Cli, sql: Sql) -> None:
    cli("rate", "sms-delivery", "2.5")
    assert sql("SELECT rate_per_s FROM queue_controls") == [{"rate_per_s": 2.5}]

    cli("rate", "sms-delivery", "default")

    assert sql("SELECT rate_per_s FROM queue_controls") == [{"rate_per_s": None}]
    assert [row["details"] for row in sql("SELECT details FROM audit ORDER BY id")] == [
        {"rate_per_s": 2.5},
        {"rate_per_s": None},
    ]


def test_jobs_of_the_timetable_are_asked_for_now(cli: Cli, sql: Sql) -> None:
    assert cli("prune").exit_code == 0
    assert cli("run", "expire_due_gift_cards", "--urgent").exit_code == 0

    rows = sql("SELECT name, state, priority FROM jobs ORDER BY enqueued_at")
    assert [(row["name"], row["state"], row["priority"]) for row in rows] == [
        ("prune_history", "scheduled", 1),
        ("expire_due_gift_cards", "scheduled", 0),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["job", str(UUID(int=1))], "no job has the id or key"),
        (["cancel", "no-such-key"], "no job has the id or key 'no-such-key'"),
        (["move", "k", "tomorrow"], "'tomorrow' is no time"),
        (["move", "k", "2026-12-25T09:00", "--zone", "Mars/Phobos"], "unknown time zone 'Mars/Phobos'"),
        (["retry", str(UUID(int=1)), "--reason", "x", "--yes"], "no job has the id"),
        (["retry", "--reason", "x"], "give the jobs' ids, or --name NAME --all"),
        (["retry", "--name", "no_such", "--all", "--reason", "x"], "no message is called 'no_such'"),
        (["rate", "sms-delivery", "0"], "to stop a queue, use pause"),
        (["rate", "sms-delivery", "fast"], "'fast' is no rate"),
        (["pause", "nowhere", "--reason", "x"], "no queue is called 'nowhere'"),
        (["jobs", "--state", "done"], "no state is called 'done'"),
        (["run", "expire_gift_card"], "expire_gift_card needs fields"),
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
        result = cli(*words, job_id, *times)
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
