"""Retrying: the same job again, with its id, key and history; never what cannot be retried."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest

import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from shared.messages import ExpireGiftCard, SendGiftCardEmail
from shared.wire import Envelope
from tests.console.conftest import Cli, Made
from tests.kinds import Deliver, Issue, JobOf, Sql
from tests.outside import Outside


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
    assert f"1: rejected unread (invalid): send it again, mended, such as {unread}" in dry.output
    assert "3 will run again now" in accepted.output
    assert [job(i)["state"] for i in (*failed, unread, other)] == ["scheduled"] * 3 + ["rejected", "failed"]


@pytest.mark.parametrize("state", ["scheduled", "running", "succeeded", "skipped"])
def test_a_job_that_has_not_failed_is_not_retried(made: Made, cli: Cli, job: JobOf, state: str) -> None:
    job_id = made(state)

    result = cli("retry", job_id, "--reason", "why not", "--yes")

    assert result.exit_code == 1
    assert f"it is {state}, not failed" in result.output
    assert job(job_id)["state"] == state


def test_a_gift_that_its_provider_accepted_is_not_sent_again_by_a_retry(
    card: Issue, deliver: Deliver, cli: Cli, outside: Outside, job: JobOf, sql: Sql
) -> None:
    envelope = Envelope(SendGiftCardEmail(gift_card_id=card()))
    deliver(envelope)
    # Its worker died before it could write the end down, so often that the job was given up.
    sql("UPDATE jobs SET state = 'failed', reason = 'stalled' WHERE id = %s", envelope.id)

    result = cli("retry", "--name", "send_gift_card_email", "--all", "--reason", "looked at", "--yes")
    deliver(envelope)

    assert "1 will run again now" in result.output
    assert len(outside.messages("email")) == 1
    assert (job(envelope.id)["state"], job(envelope.id)["attempt"]) == ("succeeded", 2)
