"""A job with a time of its own: it waits as a row, and can be moved and cancelled, even while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.expiry.conftest import Till
from tests.kinds import Deliver, Eventually, Issue, JobOf, Ledger, Sql, StartWorker


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_a_message_for_later_waits_as_a_row_and_runs_when_it_is_moved(
    card: Issue, worker: StartWorker, publisher: Publisher, ledger: Ledger, job: JobOf, sql: Sql, eventually: Eventually
) -> None:
    card_id = card(expired=True)
    worker("gift-card-expiry")

    job_id = publisher.send(ExpireGiftCard(gift_card_id=card_id), run_at=in_an_hour(), dedupe_key="later")
    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s", job_id))
    assert (job(job_id)["state"], job(job_id)["attempt"], ledger(card_id)) == ("scheduled", 0, [])
    assert sql("SELECT reschedule_job('later', clock_timestamp()) AS answer") == [{"answer": "moved"}]
    publisher.send_many([Envelope(ExpireGiftCard(gift_card_id=card_id), id=job_id, dedupe_key="later")])

    eventually(lambda: job(job_id)["state"] == "succeeded")
    assert ledger(card_id) == [Decimal(-25)]


def test_a_cancelled_job_does_nothing_when_its_message_comes(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql
) -> None:
    card_id = card(expired=True)
    envelope = Envelope(ExpireGiftCard(gift_card_id=card_id), run_at=in_an_hour())
    deliver(envelope)

    assert sql("SELECT cancel_job(%s) AS answer", str(envelope.id)) == [{"answer": "cancelled"}]
    deliver(envelope)

    assert (job(envelope.id)["state"], ledger(card_id)) == ("cancelled", [])


def test_a_job_cancelled_while_it_runs_keeps_nothing_of_its_effect(
    card: Issue,
    deliver: Deliver,
    ledger: Ledger,
    job: JobOf,
    sql: Sql,
    till: Till,
    blocked: Callable[[int], None],
) -> None:
    card_id = card(expired=True)
    envelope = Envelope(ExpireGiftCard(gift_card_id=card_id))
    expiry = threading.Thread(target=deliver, args=(envelope,))

    with till(card_id, "10.00"):
        expiry.start()
        blocked(1)
        assert sql("SELECT cancel_job(%s) AS answer", str(envelope.id)) == [{"answer": "cancelling"}]
    expiry.join()

    assert (job(envelope.id)["state"], ledger(card_id)) == ("cancelled", [])
    assert sql("SELECT status, balance FROM gift_cards") == [{"status": "ACTIVE", "balance": 15}]
