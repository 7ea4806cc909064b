"""Expiry of one card: booked once, for the balance under lock, never early, never for a card that went first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.expiry.conftest import Till
from tests.kinds import Deliver, Eventually, Issue, JobOf, Ledger, Setting, Sql, StartWorker


def test_a_due_card_is_zeroed_booked_and_told_about(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql
) -> None:
    card_id = card(balance="25.00", expired=True)

    [job_id] = deliver(ExpireGiftCard(gift_card_id=card_id))

    [row] = sql("SELECT status, balance FROM gift_cards WHERE id = %s", card_id)
    assert (row["status"], row["balance"]) == ("EXPIRED", 0)
    [entry] = sql("SELECT * FROM transactions WHERE gift_card_id = %s AND type = 'EXPIRY'", card_id)
    assert (entry["balance_before"], entry["balance_after"]) == (25, 0)
    assert (entry["idempotency_key"], entry["job_id"]) == (f"expiry:{card_id}:v1", job_id)
    assert sql("SELECT type, data FROM events WHERE subject = %s", card_id) == [
        {"type": "gift_card.expired", "data": {"amount": "25.0000", "currency": "EUR"}}
    ]
    assert job(job_id)["state"] == "succeeded"


def test_a_message_on_the_broker_reaches_its_worker(
    card: Issue, worker: StartWorker, publisher: Publisher, eventually: Eventually, ledger: Ledger
) -> None:
    card_id = card(expired=True)
    worker("gift-card-expiry")

    publisher.send(ExpireGiftCard(gift_card_id=card_id))

    eventually(lambda: ledger(card_id) == [Decimal(-25)])


def test_a_second_delivery_of_the_same_message_does_nothing(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf
) -> None:
    envelope = Envelope(ExpireGiftCard(gift_card_id=card(expired=True)))

    for _ in range(3):
        deliver(envelope)

    assert ledger(envelope.message.gift_card_id) == [Decimal(-25)]  # type: ignore[attr-defined]
    assert (job(envelope.id)["state"], job(envelope.id)["attempt"]) == ("succeeded", 1)


@pytest.mark.parametrize("version", [None, 1])
def test_a_card_expired_by_many_workers_at_once_is_booked_once(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, version: int | None
) -> None:
    card_id = card(expired=True)

    ids = deliver(*[ExpireGiftCard(gift_card_id=card_id, expiry_version=version) for _ in range(4)])

    assert ledger(card_id) == [Decimal(-25)]
    assert sorted(job(i)["reason"] or "" for i in ids) == ["", "expired", "expired", "expired"]


@pytest.mark.parametrize(("redeemed", "booked", "reason"), [("10.00", ["-15"], None), ("25.00", [], "redeemed")])
def test_a_redemption_that_holds_the_card_goes_first_and_the_rest_expires(
    card: Issue,
    deliver: Deliver,
    ledger: Ledger,
    job: JobOf,
    till: Till,
    blocked: Callable[[int], None],
    redeemed: str,
    booked: list[str],
    reason: str | None,
) -> None:
    card_id = card(balance="25.00", expired=True)
    envelope = Envelope(ExpireGiftCard(gift_card_id=card_id))
    expiry = threading.Thread(target=deliver, args=(envelope,))

    with till(card_id, redeemed):
        expiry.start()
        blocked(1)
    expiry.join()

    assert ledger(card_id) == [Decimal(amount) for amount in booked]
    assert job(envelope.id)["reason"] == reason


def test_a_card_never_expires_before_its_time(
    card: Issue,
    deliver: Deliver,
    ledger: Ledger,
    job: JobOf,
    sql: Sql,
    expires_in: Callable[[UUID, str], None],
    eventually: Eventually,
) -> None:
    card_id = card()
    expires_in(card_id, "1 second")

    [early] = deliver(ExpireGiftCard(gift_card_id=card_id))
    eventually(lambda: sql("SELECT expires_at < clock_timestamp() AS due FROM gift_cards")[0]["due"])
    deliver(ExpireGiftCard(gift_card_id=card_id))

    assert (job(early)["state"], job(early)["reason"]) == ("skipped", "not_due")
    assert ledger(card_id) == [Decimal(-25)]
    assert sql(
        "SELECT t.created_at >= c.expires_at AS late FROM transactions t JOIN gift_cards c ON c.id = gift_card_id"
        " WHERE type = 'EXPIRY'"
    ) == [{"late": True}]


@pytest.mark.parametrize("status", ["REDEEMED", "CANCELLED", "PENDING", "EXPIRED"])
def test_a_card_that_is_not_active_is_left_alone(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, status: str
) -> None:
    card_id = card(expired=True, status=status)

    [job_id] = deliver(ExpireGiftCard(gift_card_id=card_id))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", status.lower())
    assert ledger(card_id) == []


@pytest.mark.parametrize("days", [30, -5])
def test_a_job_for_an_end_that_was_moved_since_is_skipped(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql, days: int
) -> None:
    card_id = card(expired=True)
    sql("UPDATE gift_cards SET expires_on = %s WHERE id = %s", date.today() + timedelta(days=days), card_id)

    [job_id] = deliver(ExpireGiftCard(gift_card_id=card_id, expiry_version=1))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "extended")
    assert ledger(card_id) == []


def test_a_card_revived_with_a_new_end_expires_a_second_time(
    card: Issue, deliver: Deliver, ledger: Ledger, sql: Sql
) -> None:
    card_id = card(expired=True)
    deliver(ExpireGiftCard(gift_card_id=card_id))
    sql(
        "WITH c AS (UPDATE gift_cards SET status = 'ACTIVE', balance = 5, ledger_sequence = 3,"
        " expires_on = expires_on - 1 RETURNING id)"
        " INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
        " idempotency_key) SELECT id, 3, 'REFUND', 'EUR', 5, 0, 5, 'refund' FROM c"
    )

    deliver(ExpireGiftCard(gift_card_id=card_id, expiry_version=2))

    assert ledger(card_id) == [Decimal(-25), Decimal(-5)]


def test_an_empty_card_is_booked_once_with_nothing(card: Issue, deliver: Deliver, ledger: Ledger) -> None:
    card_id = card(balance="0", expired=True)

    deliver(ExpireGiftCard(gift_card_id=card_id), ExpireGiftCard(gift_card_id=card_id))

    assert ledger(card_id) == [Decimal(0)]


@pytest.mark.parametrize(
    ("currency", "balance"), [("JPY", "5000"), ("EUR", "19.99"), ("KWD", "7.125"), ("CLF", "0.0001")]
)
def test_every_digit_of_a_currency_is_booked(
    card: Issue, deliver: Deliver, ledger: Ledger, sql: Sql, currency: str, balance: str
) -> None:
    card_id = card(balance=balance, currency=currency, expired=True)

    deliver(ExpireGiftCard(gift_card_id=card_id))

    assert ledger(card_id) == [-Decimal(balance)]
    assert sql("SELECT currency FROM transactions WHERE type = 'EXPIRY'") == [{"currency": currency}]


def test_a_card_that_is_still_on_its_way_is_waited_for(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql
) -> None:
    card_id = uuid4()
    envelope = Envelope(ExpireGiftCard(gift_card_id=card_id))

    deliver(envelope)
    waiting = job(envelope.id)
    card(expired=True, id=card_id)
    sql("UPDATE jobs SET run_at = clock_timestamp()")
    deliver(envelope)

    assert (waiting["state"], waiting["reason"], waiting["attempt"]) == ("scheduled", "card_not_found", 0)
    assert ledger(card_id) == [Decimal(-25)]


def test_a_card_that_never_comes_is_rejected_with_what_to_mend(
    deliver: Deliver, job: JobOf, sql: Sql, setting: Setting
) -> None:
    envelope = Envelope(ExpireGiftCard(gift_card_id=uuid4()))
    deliver(envelope)

    sql("UPDATE jobs SET run_at = clock_timestamp(), enqueued_at = enqueued_at - interval '61 seconds'")
    deliver(envelope)

    row = job(envelope.id)
    assert (row["state"], row["reason"]) == ("rejected", "card_not_found")
    assert "commit the card" in row["error"]


def test_a_card_whose_ledger_does_not_add_up_fails_at_once_with_what_to_mend(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql
) -> None:
    card_id = card(expired=True)
    sql("UPDATE gift_cards SET balance = 26 WHERE id = %s", card_id)

    [job_id] = deliver(ExpireGiftCard(gift_card_id=card_id))

    row: dict[str, Any] = job(job_id)
    assert (row["state"], row["reason"], row["attempt"]) == ("failed", "ledger_broken", 1)
    assert "book what is missing" in row["error"]
    assert ledger(card_id) == []
