"""Scheduled delivery: at its time, to whoever the recipient is then, exactly once; cancelled and moved until then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import DeliverGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.outside import Outside

Card = Callable[..., UUID]
Deliver = Callable[..., list[UUID]]
Sql = Callable[..., list[dict[str, Any]]]
JobRow = Callable[[UUID], dict[str, Any]]


def handed_on(sql: Sql, card_id: UUID) -> list[str]:
    rows = sql("SELECT name FROM jobs WHERE gift_card_id = %s AND name LIKE 'send_%%' ORDER BY name", card_id)
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("method", "sends"),
    [
        ("email", ["send_gift_card_email"]),
        ("sms", ["send_gift_card_sms"]),
        ("both", ["send_gift_card_email", "send_gift_card_sms"]),
    ],
)
def test_a_card_is_handed_to_its_channels_once_however_often_and_by_how_many(
    method: Any, sends: list[str], card: Card, deliver: Deliver, sql: Sql
) -> None:
    card_id = card()
    asked = [Envelope(DeliverGiftCard(gift_card_id=card_id, method=method)) for _ in range(3)]

    deliver(*asked, asked[0])
    deliver(asked[0])

    assert handed_on(sql, card_id) == sends
    assert len(sql("SELECT FROM deliveries")) == len(sends)


def test_both_reaches_a_card_that_has_one_channel_only(card: Card, deliver: Deliver, sql: Sql) -> None:
    card_id = card(recipient_phone=None)

    deliver(DeliverGiftCard(gift_card_id=card_id, method="both"))

    assert handed_on(sql, card_id) == ["send_gift_card_email"]


def test_a_card_without_that_recipient_is_rejected(card: Card, deliver: Deliver, job: JobRow) -> None:
    (job_id,) = deliver(DeliverGiftCard(gift_card_id=card(recipient_phone=None), method="sms"))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("rejected", "no_address")


def test_a_delivery_in_the_future_waits_as_a_row_and_is_never_early(
    card: Card, deliver: Deliver, sql: Sql, job: JobRow
) -> None:
    at = datetime.now(UTC) + timedelta(days=30)
    asked = Envelope(DeliverGiftCard(gift_card_id=card(), method="email", deliver_at=at), run_at=at)

    deliver(asked)
    deliver(asked)

    assert (job(asked.id)["state"], job(asked.id)["run_at"], job(asked.id)["attempt"]) == ("scheduled", at, 0)
    assert [row["state"] for row in sql("SELECT state FROM deliveries")] == ["scheduled"]
    assert sql("SELECT FROM jobs WHERE name LIKE 'send_%%'") == []


def test_a_past_time_within_a_day_is_sent_now_and_an_older_one_is_rejected(
    card: Card, deliver: Deliver, job: JobRow
) -> None:
    now = datetime.now(UTC)

    late, old = deliver(
        DeliverGiftCard(gift_card_id=card(), method="email", deliver_at=now - timedelta(hours=23)),
        DeliverGiftCard(gift_card_id=card(), method="email", deliver_at=now - timedelta(hours=25)),
    )

    assert job(late)["state"] == "succeeded"
    assert (job(old)["state"], job(old)["reason"]) == ("rejected", "deliver_at_past")


def test_a_delivery_that_only_our_own_downtime_made_late_is_still_made(
    card: Card, deliver: Deliver, sql: Sql, job: JobRow
) -> None:
    due = datetime.now(UTC) - timedelta(days=3)
    asked = Envelope(DeliverGiftCard(gift_card_id=card(), method="email", deliver_at=due))
    sql("INSERT INTO jobs (id, name, queue, state, run_at, enqueued_at) VALUES (%s, %s, %s, 'queued', %s, %s)",
        asked.id, asked.message.name, asked.message.queue, due, due - timedelta(days=9))  # fmt: skip

    deliver(asked)

    assert job(asked.id)["state"] == "succeeded"


def test_a_time_after_the_cards_expiry_is_rejected_as_soon_as_it_is_asked_for(
    card: Card, deliver: Deliver, job: JobRow
) -> None:
    at = datetime.now(UTC) + timedelta(days=400)

    asked = Envelope(DeliverGiftCard(gift_card_id=card(), method="email", deliver_at=at), run_at=at)
    deliver(asked)

    assert (job(asked.id)["state"], job(asked.id)["reason"]) == ("rejected", "deliver_at_after_expiry")


@pytest.mark.parametrize("change", ["status = 'REDEEMED'", "status = 'CANCELLED'", "status = 'PENDING'"])
def test_a_card_that_changed_before_its_time_is_not_handed_over(
    change: str, card: Card, deliver: Deliver, sql: Sql, job: JobRow
) -> None:
    card_id = card()
    sql(f"UPDATE gift_cards SET {change} WHERE id = %s", card_id)

    (job_id,) = deliver(DeliverGiftCard(gift_card_id=card_id, method="email"))

    assert job(job_id)["state"] == "skipped"
    assert handed_on(sql, card_id) == []


def test_a_cancelled_delivery_is_never_made_and_a_moved_one_at_its_new_time(
    card: Card, deliver: Deliver, sql: Sql, job: JobRow
) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    gone, moved = [
        Envelope(DeliverGiftCard(gift_card_id=card(), method="email", deliver_at=at), run_at=at, dedupe_key=key)
        for key in ("order-1", "order-2")
    ]
    deliver(gone, moved)

    sql("SELECT cancel_job('order-1')")
    sql("SELECT reschedule_job('order-2', now() - interval '1 second')")
    deliver(gone, moved)

    assert job(gone.id)["state"] == "cancelled"
    assert job(moved.id)["state"] == "succeeded"


def test_of_a_cancel_and_a_hand_off_at_once_the_first_to_commit_wins(
    card: Card, deliver: Deliver, sql: Sql, job: JobRow, database: str
) -> None:
    import psycopg

    card_id = card()
    asked = Envelope(DeliverGiftCard(gift_card_id=card_id, method="email"))
    sql("INSERT INTO jobs (id, name, queue, state) VALUES (%s, %s, %s, 'queued')",
        asked.id, asked.message.name, asked.message.queue)  # fmt: skip

    # The cancel holds the row when the worker claims it, and commits first.
    with psycopg.connect(database) as cancelling:
        cancelling.execute("SELECT cancel_job(%s)", (str(asked.id),))
        from threading import Thread

        working = Thread(target=deliver, args=(asked,))
        working.start()
    working.join()

    assert job(asked.id)["state"] == "cancelled"
    assert handed_on(sql, card_id) == []


WALL_TIMES = [
    ("2026-12-25T09:00", "Europe/Berlin", "2026-12-25T08:00+00:00"),
    ("2026-12-25T09:00", "America/New_York", "2026-12-25T14:00+00:00"),
    ("2027-03-14T02:30", "America/New_York", "2027-03-14T07:30+00:00"),  # a gap moves forward
    ("2027-10-31T02:30", "Europe/Berlin", "2027-10-31T00:30+00:00"),  # of two the first
    ("2027-10-03T02:15", "Australia/Lord_Howe", "2027-10-02T15:45+00:00"),  # half an hour's gap
]


@pytest.mark.parametrize(("wall", "zone", "utc"), WALL_TIMES)
def test_nine_o_clock_where_she_lives_is_the_same_instant_through_both_doors(
    wall: str, zone: str, utc: str, card: Card, deliver: Deliver, sql: Sql, job: JobRow
) -> None:
    message = DeliverGiftCard(
        gift_card_id=card(expires_on="2030-12-31"),
        method="email",
        deliver_local=datetime.fromisoformat(wall),
        deliver_tz=zone,
    )

    asked = Envelope(message, run_at=message.due_at())
    deliver(asked)
    (row,) = sql("SELECT enqueue_job('deliver_gift_card', %s::jsonb) AS id", message.model_dump_json())

    assert job(asked.id)["run_at"] == job(row["id"])["run_at"] == datetime.fromisoformat(utc)


def test_a_card_that_is_on_its_way_is_waited_for(
    card: Card, deliver: Deliver, sql: Sql, job: JobRow, setting: Callable[..., None]
) -> None:
    card_id = uuid4()
    asked = Envelope(DeliverGiftCard(gift_card_id=card_id, method="email"))

    deliver(asked)
    waiting = job(asked.id)
    card(id=card_id)
    sql("UPDATE jobs SET run_at = now()")
    deliver(asked)

    assert (waiting["state"], waiting["reason"], waiting["attempt"]) == ("scheduled", "card_not_found", 0)
    assert job(asked.id)["state"] == "succeeded"


def test_a_gift_goes_from_a_message_through_rows_and_queues_to_its_inbox(
    card: Card, worker: Callable[..., Any], publisher: Publisher, outside: Outside, eventually: Any, process: Any
) -> None:
    process("scheduler")
    worker("scheduled-delivery", "email-delivery", "sms-delivery")
    card_id = card()

    publisher.send(DeliverGiftCard(gift_card_id=card_id, method="both"))

    eventually(lambda: len(outside.messages()) == 2)
    assert {m["channel"] for m in outside.messages()} == {"email", "sms"}


def states(sql: Sql) -> list[tuple[Any, ...]]:
    rows = sql("SELECT recipient_version, channel, state, reason FROM deliveries ORDER BY recipient_version, channel")
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("door", ["amqp", "sql"])
def test_what_is_asked_for_later_is_on_record_as_a_delivery_and_ends_with_its_job(
    door: str, card: Card, deliver: Deliver, sql: Sql
) -> None:
    at = datetime.now(UTC) + timedelta(days=30)
    message = DeliverGiftCard(gift_card_id=card(), method="both", deliver_at=at)
    if door == "amqp":
        deliver(Envelope(message, run_at=at, dedupe_key="order-9"))
    else:
        sql("SELECT enqueue_job('deliver_gift_card', %s::jsonb, dedupe_key => 'order-9')", message.model_dump_json())
    scheduled = states(sql)

    sql("SELECT cancel_job('order-9')")

    assert scheduled == [(1, "email", "scheduled", None), (1, "sms", "scheduled", None)]
    assert states(sql) == [(1, "email", "cancelled", "cancelled"), (1, "sms", "cancelled", "cancelled")]


def test_a_scheduled_delivery_to_a_recipient_who_was_replaced_ends_and_the_present_one_gets_it(
    card: Card, deliver: Deliver, sql: Sql
) -> None:
    card_id, at = card(), datetime.now(UTC) + timedelta(days=30)
    asked = Envelope(DeliverGiftCard(gift_card_id=card_id, method="email", deliver_at=at), run_at=at)
    deliver(asked)

    sql("UPDATE gift_cards SET recipient_email = 'new@example.com' WHERE id = %s", card_id)
    sql("UPDATE jobs SET run_at = clock_timestamp()")
    deliver(asked)

    assert states(sql) == [(1, "email", "skipped", "recipient_changed"), (2, "email", "queued", None)]
    assert handed_on(sql, card_id) == ["send_gift_card_email"]


def test_a_scheduled_delivery_of_a_card_that_is_over_says_why_it_was_not_made(
    card: Card, deliver: Deliver, sql: Sql
) -> None:
    card_id, at = card(), datetime.now(UTC) + timedelta(days=30)
    asked = Envelope(DeliverGiftCard(gift_card_id=card_id, method="email", deliver_at=at), run_at=at)
    deliver(asked)

    sql("UPDATE gift_cards SET status = 'REDEEMED' WHERE id = %s", card_id)
    sql("UPDATE jobs SET run_at = clock_timestamp()")
    deliver(asked)

    assert states(sql) == [(1, "email", "skipped", "redeemed")]
