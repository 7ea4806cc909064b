"""Workers killed as by kill -9, at every step: the scheduler's rescue and a second worker leave exactly one entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

import pytest

from shared import metrics
from shared.messages import ExpireDueGiftCards, ExpireGiftCard, Message, PlanExpiryReminders, SendExpiryReminder
from shared.publisher import Publisher
from tests.expiry.conftest import NO_TIMETABLE, Received
from tests.kinds import Eventually, Forsake, HoldCards, Issue, JobOf, Ledger, Setting, Sql, StartProcess, StartWorker

Kill: TypeAlias = Callable[[Message, str], UUID]
FINAL = {"succeeded", "skipped", "failed", "rejected", "cancelled"}


@pytest.fixture
def kill(process: StartProcess, publisher: Publisher, setting: Setting, forsake: Forsake) -> Kill:
    """Publish a message to a worker process that dies at a failpoint, and wait for its death and its lease's end."""
    setting(timetable=NO_TIMETABLE)

    def at(message: Message, failpoint: str) -> UUID:
        job_id = publisher.send(message)
        process("expiry", failpoints=f"{failpoint}=kill").communicate(timeout=60)
        forsake()
        return job_id

    return at


@pytest.fixture
def recover(process: StartProcess, worker: StartWorker, sql: Sql, eventually: Eventually) -> Callable[..., None]:
    """Start a scheduler and a healthy worker, and wait for the job's end."""

    def until_final(job_id: UUID) -> None:
        process("scheduler")
        worker("gift-card-expiry", "expiry-reminders")
        eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = ANY(%s)", job_id, list(FINAL)))

    return until_final


@pytest.mark.parametrize("failpoint", ["claimed", "effect"])
def test_a_worker_killed_before_the_effect_is_committed_books_nothing_and_another_books_once(
    card: Issue,
    process: StartProcess,
    publisher: Publisher,
    hold_cards: HoldCards,
    recover: Callable[..., None],
    ledger: Ledger,
    job: JobOf,
    sql: Sql,
    setting: Setting,
    eventually: Eventually,
    forsake: Forsake,
    failpoint: str,
) -> None:
    """The card is in other hands, so the job is claimed first, and does its work alone."""
    setting(timetable=NO_TIMETABLE)
    card_id = card(expired=True)
    job_id = publisher.send(ExpireGiftCard(gift_card_id=card_id))
    with hold_cards():
        worker = process("expiry", failpoints=f"{failpoint}=kill")
        eventually(lambda: sql("SELECT FROM jobs WHERE state = 'running'"))
    worker.communicate(timeout=60)
    assert (job(job_id)["state"], ledger(card_id)) == ("running", [])

    forsake()
    recover(job_id)

    assert ledger(card_id) == [Decimal(-25)]
    assert (job(job_id)["state"], job(job_id)["attempt"], job(job_id)["stalls"]) == ("succeeded", 2, 1)


def test_of_cards_that_are_expired_together_nothing_is_kept_when_the_worker_is_killed(
    card: Issue, kill: Kill, recover: Callable[..., None], ledger: Ledger, job: JobOf, sql: Sql
) -> None:
    card_id = card(expired=True)

    job_id = kill(ExpireGiftCard(gift_card_id=card_id), "effect")
    assert (sql("SELECT FROM jobs WHERE id = %s", job_id), ledger(card_id)) == ([], [])
    recover(job_id)  # the broker delivers it again

    assert ledger(card_id) == [Decimal(-25)]
    assert (job(job_id)["state"], job(job_id)["attempt"], job(job_id)["stalls"]) == ("succeeded", 1, 0)


def test_a_worker_killed_after_the_effect_and_before_the_ack_is_not_repeated(
    card: Issue, kill: Kill, worker: StartWorker, ledger: Ledger, job: JobOf, eventually: Eventually
) -> None:
    card_id = card(expired=True)
    duplicates = metrics.duplicates.labels("gift-card-expiry")._value
    before = duplicates.get()

    job_id = kill(ExpireGiftCard(gift_card_id=card_id), "committed")
    assert (job(job_id)["state"], ledger(card_id)) == ("succeeded", [Decimal(-25)])
    worker("gift-card-expiry")
    eventually(lambda: duplicates.get() > before)  # the broker delivers it again

    assert ledger(card_id) == [Decimal(-25)]
    assert (job(job_id)["state"], job(job_id)["attempt"]) == ("succeeded", 1)


def test_a_sweep_killed_between_slices_goes_on_where_it_stopped(
    card: Issue,
    kill: Kill,
    recover: Callable[..., None],
    ledger: Ledger,
    job: JobOf,
    sql: Sql,
    setting: Setting,
) -> None:
    setting(slice_rows=2)
    cards = [card(expired=True) for _ in range(5)]

    job_id = kill(ExpireDueGiftCards(), "slice")
    assert sql("SELECT count(*) AS booked FROM transactions WHERE type = 'EXPIRY'") == [{"booked": 2}]
    recover(job_id)

    assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 5
    assert job(job_id)["state"] == "succeeded"


def test_a_reminder_whose_worker_is_killed_before_the_hand_off_is_committed_is_handed_off_once(
    received: Received, kill: Kill, recover: Callable[..., None], job: JobOf, sql: Sql
) -> None:
    card_id = received()

    job_id = kill(SendExpiryReminder(gift_card_id=card_id), "effect")
    assert sql("SELECT FROM deliveries WHERE kind = 'reminder'") == []
    recover(job_id)

    assert job(job_id)["state"] == "succeeded"
    assert sql("SELECT count(*) AS handed FROM deliveries WHERE kind = 'reminder'") == [{"handed": 1}]
    assert sql("SELECT count(*) AS sends FROM jobs WHERE name = 'send_gift_card_email'") == [{"sends": 1}]


def test_planning_that_is_killed_between_slices_goes_on_where_it_stopped(
    card: Issue, kill: Kill, recover: Callable[..., None], job: JobOf, sql: Sql, setting: Setting
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=3)
    setting(slice_rows=2, reminder_hour=soon.hour)
    for _ in range(5):
        card(expires_on=soon.date() + timedelta(days=7))

    job_id = kill(PlanExpiryReminders(), "slice")
    planned = "SELECT count(*) AS planned FROM jobs WHERE name = 'send_expiry_reminder'"
    assert sql(planned) == [{"planned": 2}]
    recover(job_id)

    assert job(job_id)["state"] == "succeeded"
    assert sql(planned) == [{"planned": 5}]
