"""A worker killed twenty times at each of its points: every job is done once, whatever was under way."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.messages import (
    CleanupExpiredTokens,
    DeliverGiftCard,
    ExpireDueGiftCards,
    ExpireGiftCard,
    PlanExpiryReminders,
    SendExpiryReminder,
)
from shared.packets import Packet
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.expiry.conftest import Received, received  # noqa: F401  # a fixture
from tests.failpoints.conftest import KILLS, Die, Recover
from tests.kinds import HoldCards, Issue, Ledger, Setting, Sql
from tests.outside import Outside

QUEUE = "gift-card-expiry"


@pytest.mark.parametrize(("point", "stalls"), [("claimed", 1), ("effect", 1), ("committed", 0)])
def test_a_card_whose_worker_dies_is_booked_once(
    point: str,
    stalls: int,
    publisher: Publisher,
    die: Die,
    recover: Recover,
    card: Issue,
    hold_cards: HoldCards,
    ledger: Ledger,
    sql: Sql,
) -> None:
    cards = [card(expired=True) for _ in range(KILLS)]
    publisher.send_many([ExpireGiftCard(gift_card_id=card_id) for card_id in cards])

    with hold_cards() if point == "claimed" else nullcontext():
        die(point, "consume", QUEUE)
    assert sum(len(ledger(card_id)) for card_id in cards) == (KILLS if point == "committed" else 0)
    recover(QUEUE)

    assert [ledger(card_id) for card_id in cards] == [[-25]] * KILLS
    # Before the effect is committed the first death takes even the claim with it; what comes again is claimed first.
    assert sql("SELECT state, max(stalls) AS stalls, max(attempt) AS attempt FROM jobs GROUP BY state") == [
        {"state": "succeeded", "stalls": stalls, "attempt": 1 + stalls}
    ]


@pytest.mark.parametrize(("point", "booked"), [("effect", 0), ("committed", KILLS)])
def test_a_batch_whose_worker_dies_is_booked_once(
    point: str,
    booked: int,
    publisher: Publisher,
    die: Die,
    recover: Recover,
    card: Issue,
    ledger: Ledger,
    setting: Setting,
    sql: Sql,
) -> None:
    setting(queues__gift_card_expiry__rate_per_s="")
    cards = [card(expired=True) for _ in range(KILLS)]
    publisher.send_many([ExpireGiftCard(gift_card_id=card_id) for card_id in cards])

    die(point, "consume_together", QUEUE, times=1)
    assert sum(len(ledger(card_id)) for card_id in cards) == booked
    recover(QUEUE)

    assert [ledger(card_id) for card_id in cards] == [[-25]] * KILLS
    assert sql("SELECT DISTINCT state, attempt, stalls FROM jobs") == [
        {"state": "succeeded", "attempt": 1, "stalls": 0}
    ]


def test_a_failure_whose_worker_dies_before_it_is_written_down_is_written_down_by_the_next(
    publisher: Publisher, die: Die, recover: Recover, card: Issue, outside: Outside, sql: Sql
) -> None:
    for n in range(KILLS):
        outside.behave("email", "refuse", phase="rcpt", code=451, text="4.3.0 try later", to=f"ada{n}@example.com")
        publisher.send(DeliverGiftCard(gift_card_id=card(recipient_email=f"ada{n}@example.com"), method="email"))
    recover("scheduled-delivery", "email-delivery")  # refused once, and tried again

    for _ in range(KILLS):
        publisher.send(DeliverGiftCard(gift_card_id=card(recipient_email=None, recipient_phone=None), method="email"))
    die("failing", "consume", "scheduled-delivery")
    assert len(sql("SELECT FROM jobs WHERE state = 'running'")) == KILLS
    recover("scheduled-delivery", "email-delivery")

    assert len(outside.messages("email")) == KILLS
    assert sql("SELECT reason, stalls, count(*) AS n FROM jobs WHERE state = 'rejected' GROUP BY 1, 2") == [
        {"reason": "no_address", "stalls": 1, "n": KILLS}
    ]


def test_a_body_that_is_no_message_is_kept_once_though_its_worker_dies_over_it(
    publisher: Publisher, die: Die, recover: Recover, card: Issue, ledger: Ledger, sql: Sql
) -> None:
    card_id = card(expired=True)
    publisher.publish([Packet(QUEUE, b"no message", "1")])

    die("refusing", "consume", QUEUE)
    publisher.send(ExpireGiftCard(gift_card_id=card_id))  # and what stands behind it is done
    recover(QUEUE)

    assert sql("SELECT reason, count(*) AS n FROM jobs WHERE state = 'rejected' GROUP BY reason") == [
        {"reason": "undecodable", "n": 1}
    ]
    assert ledger(card_id) == [-25]


def test_a_job_whose_process_dies_before_it_gives_it_back_is_rescued(
    die: Die, recover: Recover, card: Issue, ledger: Ledger, sql: Sql
) -> None:
    cards = [card(expired=True) for _ in range(KILLS)]
    for card_id in cards:
        die("giving-back", "leave", Envelope(ExpireGiftCard(gift_card_id=card_id)).encode().decode(), times=1)

    recover(QUEUE)

    assert [ledger(card_id) for card_id in cards] == [[-25]] * KILLS
    assert sql("SELECT DISTINCT state, stalls FROM jobs") == [{"state": "succeeded", "stalls": 1}]


@pytest.mark.parametrize("asked_for", ["deliveries", "reminders"])
def test_a_hand_off_whose_worker_dies_half_way_happens_once(
    asked_for: str,
    publisher: Publisher,
    die: Die,
    recover: Recover,
    card: Issue,
    received: Received,  # noqa: F811  # a fixture
    outside: Outside,
    sql: Sql,
) -> None:
    messages: list[Any] = [
        DeliverGiftCard(gift_card_id=card(recipient_email=f"ada{n}@example.com"), method="email")
        if asked_for == "deliveries"
        else SendExpiryReminder(gift_card_id=received(recipient_email=f"ada{n}@example.com"))
        for n in range(KILLS)
    ]
    before = len(sql("SELECT FROM deliveries"))
    publisher.send_many(messages)

    die("handing-off", "consume", messages[0].queue)
    assert len(sql("SELECT FROM deliveries WHERE state <> 'scheduled'")) == before
    recover("scheduled-delivery", "expiry-reminders", "email-delivery")

    assert sorted(m["to"] for m in outside.messages()) == sorted(f"ada{n}@example.com" for n in range(KILLS))
    assert len(sql("SELECT FROM deliveries")) == before + KILLS


SOON = datetime.now(UTC) + timedelta(hours=3)
SLICES = {
    "sweep": (ExpireDueGiftCards, "SELECT FROM gift_cards WHERE status = 'EXPIRED'"),
    "plan": (PlanExpiryReminders, "SELECT FROM jobs WHERE name = 'send_expiry_reminder'"),
    "cleanup": (CleanupExpiredTokens, "SELECT generate_series(count(*) + 1, 50) FROM refresh_tokens"),
}


@pytest.mark.parametrize("work", SLICES)
def test_work_in_slices_whose_workers_die_after_each_slice_is_all_done_and_nothing_twice(
    work: str, publisher: Publisher, die: Die, recover: Recover, card: Issue, sql: Sql, setting: Setting
) -> None:
    setting(slice_rows=2, reminder_hour=SOON.hour, brake_cards=1000)
    message, done = SLICES[work]
    ends: dict[str, Any] = {"expires_on": SOON.date() + timedelta(days=7)} if work == "plan" else {}
    for _ in range(50 if work != "cleanup" else 0):
        card(expired=work == "sweep", **ends)
    if work == "cleanup":
        sql(
            "INSERT INTO refresh_tokens (user_id, token_hash, expires_at) SELECT gen_random_uuid(), n::text,"
            " clock_timestamp() - interval '90 days' FROM generate_series(1, 50) n"
        )
    days = [datetime.combine(date.today(), datetime.min.time(), UTC) - timedelta(days=n) for n in range(KILLS)]
    publisher.send_many([message(as_of=day) if work == "cleanup" else message() for day in days])

    die("slice", "consume", message.queue)
    assert len(sql(done)) == 2 * KILLS
    sql("UPDATE jobs SET state = 'cancelled', finished_at = clock_timestamp() WHERE name = 'send_expiry_reminder'")
    recover(message.queue)
    sql("UPDATE jobs SET state = 'cancelled', finished_at = clock_timestamp() WHERE name = 'send_expiry_reminder'")

    assert len(sql(done)) == 50
    assert sql("SELECT DISTINCT stalls FROM jobs WHERE name = %s", message.name) == [{"stalls": 1}]
