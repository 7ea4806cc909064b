"""Looking: counts, lists, one job, groups of failures, what to mend, a card's story, the timetable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import services.expiry.actors  # noqa: F401  # registers the actors
from shared.messages import QUEUES, ExpireDueGiftCards, ExpireGiftCard
from shared.options import TIMETABLE
from tests.console.conftest import Cli, Made, Read
from tests.kinds import Deliver, Issue, Setting, Sql


def test_counts_say_for_each_queue_what_waits_runs_and_ended(made: Made, read: Read, cli: Cli, sql: Sql) -> None:
    for state in ("scheduled", "queued", "running", "succeeded", "skipped", "cancelled", "failed", "rejected"):
        made(state)
    made("scheduled", run_at=datetime.now(UTC) + timedelta(hours=1))
    sql("INSERT INTO queue_controls VALUES ('sms-delivery', clock_timestamp(), 'ada', 'incident', 2.5)")

    rows = {row["queue"]: row for row in read("counts")}

    assert set(rows) == set(QUEUES)
    expiry = {k: rows["gift-card-expiry"][k] for k in ("waiting", "active", "delayed", "completed", "failed", "paused")}
    assert expiry == {"waiting": 2, "active": 1, "delayed": 1, "completed": 3, "failed": 2, "paused": None}
    assert rows["sms-delivery"]["rate_per_s"] == 2.5
    assert "by ada: incident" in rows["sms-delivery"]["paused"]
    assert "by ada: incident" in cli("counts").output


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("waiting", {"scheduled", "queued"}),
        ("active", {"running"}),
        ("completed", {"succeeded", "skipped", "cancelled"}),
        ("failed", {"failed"}),
        ("delayed", {"scheduled"}),
        (None, {"scheduled", "queued", "running", "succeeded", "skipped", "cancelled", "failed", "rejected"}),
    ],
)
def test_jobs_are_found_by_state_in_our_words_and_in_bullmqs(
    made: Made, read: Read, state: str | None, found: set[str]
) -> None:
    later = made("scheduled", run_at=datetime.now(UTC) + timedelta(hours=1))
    for each in ("scheduled", "queued", "running", "succeeded", "skipped", "cancelled", "failed", "rejected"):
        made(each)

    rows = read("jobs", *(["--state", state] if state else []))

    assert {row["state"] for row in rows} == found
    assert (str(later) in {row["id"] for row in rows}) == (state in ("delayed", None))


def test_jobs_are_found_by_name_queue_card_and_reason_newest_first(
    card: Issue, deliver: Deliver, read: Read, made: Made
) -> None:
    card_id = card(status="REDEEMED")
    [first] = deliver(ExpireGiftCard(gift_card_id=card_id))
    [second] = deliver(ExpireGiftCard(gift_card_id=card_id))
    made("succeeded", message="prune_history")

    for words in (
        ("--card", card_id),
        ("--name", "expire_gift_card"),
        ("--queue", "gift-card-expiry"),
        ("--reason", "redeemed"),
    ):
        assert [row["id"] for row in read("jobs", *words)] == [str(second), str(first)]
    assert [row["id"] for row in read("jobs", "--card", card_id, "--limit", 1)] == [str(second)]


def test_one_job_is_shown_whole_by_id_and_by_key(cli: Cli, sql: Sql) -> None:
    [row] = sql("SELECT enqueue_job('prune_history', dedupe_key => 'prune:once') AS id")

    for name in (row["id"], "prune:once"):
        result = cli("job", name)
        assert result.exit_code == 0
        assert str(row["id"]) in result.output
        assert "prune_history: scheduled" in result.output


def test_a_job_that_retention_deleted_is_named_as_such(cli: Cli, sql: Sql) -> None:
    sql("SELECT enqueue_job('prune_history', dedupe_key => 'prune:once')")
    sql("DELETE FROM jobs")

    result = cli("job", "prune:once")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "deleted by retention" in result.stderr


def test_failures_are_grouped_by_name_and_cause(made: Made, read: Read, cli: Cli) -> None:
    for _ in range(3):
        made("failed", reason="retries_exhausted", error_type="TimeoutError", error="smtp.py:1 send")
    made("failed", reason="stalled")
    made("failed", message="prune_history", reason="stalled")

    groups = [(row["name"], row["reason"], row["jobs"]) for row in read("failed")]

    assert groups[0] == ("expire_due_gift_cards", "retries_exhausted", 3)
    assert sorted(groups[1:]) == [("expire_due_gift_cards", "stalled", 1), ("prune_history", "stalled", 1)]
    assert [row["jobs"] for row in read("failed", "--name", "prune_history")] == [1]
    assert "smtp.py:1 send" in cli("failed").output


def test_rejected_messages_say_what_to_mend(made: Made, cli: Cli) -> None:
    made("rejected", reason="invalid", error="gift_card_id: Field required", source="checkout")

    output = cli("rejected").output

    assert "gift_card_id: Field required" in output
    assert "checkout" in output


def test_the_schedule_shows_each_lines_last_and_next_tick(read: Read, cli: Cli, sql: Sql, setting: Setting) -> None:
    setting(timetable='{"cleanup_expired_tokens": {"cron": "0 2 * * *", "zone": "Asia/Tokyo"}}')
    sql("INSERT INTO schedules VALUES ('cleanup_expired_tokens', '2026-01-01T17:00Z')")

    rows = {row["name"]: row for row in read("schedule")}

    assert set(rows) == set(TIMETABLE)
    assert rows["cleanup_expired_tokens"]["last_tick"] == "2026-01-01T17:00:00+00:00"
    following = datetime.fromisoformat(rows["cleanup_expired_tokens"]["next"])
    assert (following.hour, following.minute, following > datetime.now(UTC)) == (17, 0, True)
    assert "Asia/Tokyo" in cli("schedule").output


def test_an_empty_system_is_shown_without_tables(cli: Cli) -> None:
    assert "none like this" in cli("jobs").output
    assert "nothing" in cli("failed").output
    assert "nothing" in cli("rejected").output


def test_every_line_of_a_job_that_ran_is_readable_json(deliver: Deliver, read: Read) -> None:
    [job_id] = deliver(ExpireDueGiftCards())

    shown = read("job", job_id)

    assert (shown["state"], shown["reason"], shown["acts"]) == ("skipped", "nothing_due", [])
    assert datetime.fromisoformat(shown["finished_at"]).tzinfo is not None
