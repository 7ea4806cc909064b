"""The sweep: every due card and no other, in slices, however many sweeps run, whoever holds a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from services.expiry import cards
from shared.messages import ExpireDueGiftCards
from shared.wire import Envelope
from tests.expiry.conftest import Till
from tests.kinds import Deliver, Issue, JobOf, Ledger, Setting, Sql


def test_a_sweep_takes_every_due_card_in_slices_and_no_other(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql, setting: Setting
) -> None:
    setting(slice_rows=3)
    due = [card(balance=str(n), expired=True) for n in range(10)]
    others = [card(), *(card(expired=True, status=s) for s in ("REDEEMED", "CANCELLED", "PENDING", "EXPIRED"))]

    [job_id] = deliver(ExpireDueGiftCards())

    assert [ledger(card_id) for card_id in due] == [[Decimal(-n)] for n in range(10)]
    assert [ledger(card_id) for card_id in others] == [[]] * 5
    assert job(job_id)["state"] == "succeeded"
    slices = sql("SELECT count(*) AS cards FROM transactions WHERE type = 'EXPIRY' GROUP BY xmin::text")
    assert sorted(row["cards"] for row in slices) == [1, 3, 3, 3]


def test_a_sweep_with_nothing_to_do_says_so(card: Issue, deliver: Deliver, job: JobOf) -> None:
    card()

    [job_id] = deliver(ExpireDueGiftCards())

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "nothing_due")


def test_sweeps_at_once_book_each_card_once(
    card: Issue, deliver: Deliver, ledger: Ledger, sql: Sql, setting: Setting
) -> None:
    setting(slice_rows=2)
    due = [card(expired=True) for _ in range(20)]

    deliver(*[ExpireDueGiftCards() for _ in range(4)])

    assert [ledger(card_id) for card_id in due] == [[Decimal(-25)]] * 20


def test_a_card_that_somebody_holds_is_left_for_the_next_sweep(
    card: Issue, deliver: Deliver, ledger: Ledger, till: Till
) -> None:
    held, free = card(expired=True), card(expired=True)

    with till(held, "10.00"):
        deliver(ExpireDueGiftCards())
    assert (ledger(held), ledger(free)) == ([], [Decimal(-25)])
    deliver(ExpireDueGiftCards())

    assert ledger(held) == [Decimal(-15)]


def test_a_sweep_as_of_a_time_leaves_what_was_due_later(card: Issue, deliver: Deliver, ledger: Ledger) -> None:
    last_month = card(expires_on=datetime.now(UTC).date() - timedelta(days=40))
    yesterday = card(expired=True)

    deliver(ExpireDueGiftCards(as_of=datetime.now(UTC) - timedelta(days=30)))

    assert (ledger(last_month), ledger(yesterday)) == ([Decimal(-25)], [])


def test_a_sweep_as_of_the_future_expires_nothing_early(card: Issue, deliver: Deliver, ledger: Ledger) -> None:
    card_id = card()

    deliver(ExpireDueGiftCards(as_of=datetime.now(UTC) + timedelta(days=3650)))

    assert ledger(card_id) == []


def test_one_broken_ledger_does_not_keep_the_others_from_expiring(
    card: Issue, deliver: Deliver, ledger: Ledger, job: JobOf, sql: Sql, setting: Setting
) -> None:
    setting(slice_rows=3)
    issued = [card(expired=True) for _ in range(5)]
    sql("UPDATE gift_cards SET balance = 26 WHERE id = %s", issued[1])

    [job_id] = deliver(ExpireDueGiftCards())

    assert [ledger(c) for c in issued] == [[Decimal(-25)], [], [Decimal(-25)], [Decimal(-25)], [Decimal(-25)]]
    assert (job(job_id)["state"], job(job_id)["reason"]) == ("failed", "ledger_broken")
    assert str(issued[1]) in job(job_id)["error"]


def test_a_cancelled_sweep_keeps_its_slices_and_stops(
    card: Issue, deliver: Deliver, job: JobOf, sql: Sql, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(slice_rows=1)
    for _ in range(3):
        card(expired=True)
    sweep = Envelope(ExpireDueGiftCards())
    monkeypatch.setattr(cards, "failpoint", lambda _: sql("SELECT cancel_job(%s)", str(sweep.id)))  # after a slice

    deliver(sweep)

    assert job(sweep.id)["state"] == "cancelled"
    assert sql("SELECT count(*) AS n FROM transactions WHERE type = 'EXPIRY'") == [{"n": 1}]


def test_money_of_every_currency_is_told_to_upstream(
    card: Issue, deliver: Deliver, sql: Sql, expires_in: Callable[[UUID, str], None]
) -> None:
    for currency, balance in (("JPY", "500"), ("EUR", "1.25"), ("KWD", "0.125")):
        card(balance=balance, currency=currency, expired=True)

    deliver(ExpireDueGiftCards())

    told = {json.dumps(row["data"]) for row in sql("SELECT data FROM events")}
    assert told == {
        '{"amount": "500.0000", "currency": "JPY"}',
        '{"amount": "1.2500", "currency": "EUR"}',
        '{"amount": "0.1250", "currency": "KWD"}',
    }
