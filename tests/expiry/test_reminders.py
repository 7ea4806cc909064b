"""One reminder: handed off once, and only for a card that still deserves it, to the address that it has now."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.messages import SendExpiryReminder
from shared.wire import Envelope
from tests.expiry.conftest import Received
from tests.kinds import Deliver, JobOf, Sql


def reminders(sql: Sql) -> list[dict[str, Any]]:
    return sql("SELECT * FROM deliveries WHERE kind = 'reminder'")


def sends(sql: Sql) -> list[dict[str, Any]]:
    return sql("SELECT * FROM jobs WHERE name = 'send_gift_card_email'")


def test_a_reminder_is_handed_off_to_email_with_the_cards_end_as_its_last_moment(
    received: Received, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    card_id = received()

    [job_id] = deliver(SendExpiryReminder(gift_card_id=card_id, days_before=7))

    [delivery] = reminders(sql)
    assert (delivery["dedupe_key"], delivery["state"]) == (f"reminder:{card_id}:v1:d7", "queued")
    assert (delivery["template_id"], delivery["channel"], delivery["days_before"]) == ("expiry_reminder", "email", 7)
    [send] = sends(sql)
    assert send["data"] == {
        "gift_card_id": str(card_id),
        "delivery_id": str(delivery["id"]),
        "template_id": "expiry_reminder",
    }
    [end] = sql("SELECT expires_at FROM gift_cards")
    assert (send["state"], send["not_after"]) == ("scheduled", end["expires_at"])
    assert job(job_id)["state"] == "succeeded"


def test_the_mail_of_a_reminder_is_of_its_trace(received: Received, deliver: Deliver, sql: Sql) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"

    deliver(Envelope(SendExpiryReminder(gift_card_id=received()), traceparent=trace))

    assert [send["traceparent"] for send in sends(sql)] == [trace]


def test_a_redelivered_reminder_is_handed_off_once(received: Received, deliver: Deliver, sql: Sql) -> None:
    envelope = Envelope(SendExpiryReminder(gift_card_id=received()))

    for _ in range(3):
        deliver(envelope)

    assert (len(reminders(sql)), len(sends(sql))) == (1, 1)


def test_two_jobs_for_one_reminder_at_once_hand_off_once(
    received: Received, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    card_id = received()

    ids = deliver(*[SendExpiryReminder(gift_card_id=card_id, days_before=7) for _ in range(4)])

    assert (len(reminders(sql)), len(sends(sql))) == (1, 1)
    assert sorted(job(i)["reason"] or "" for i in ids) == ["", *["already_reminded"] * 3]


def test_each_offset_is_a_reminder_of_its_own(received: Received, deliver: Deliver, sql: Sql) -> None:
    card_id = received()

    for days in (30, 7, 1, 7):
        deliver(SendExpiryReminder(gift_card_id=card_id, days_before=days))

    assert sorted(row["days_before"] for row in reminders(sql)) == [1, 7, 30]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "REDEEMED"}, "redeemed"),
        ({"status": "CANCELLED"}, "cancelled"),
        ({"status": "PENDING"}, "pending"),
        ({"expires_on": date.today() - timedelta(days=2)}, "expired"),
        ({"balance": "0"}, "zero_balance"),
        ({"recipient_email": None}, "no_address"),
        ({"gift": "queued"}, "gift_not_sent"),
        ({"gift": "failed"}, "gift_not_sent"),
        ({"gift": "unconfirmed"}, "gift_not_sent"),
    ],
)
def test_a_card_that_does_not_deserve_it_is_not_reminded_of(
    received: Received, deliver: Deliver, job: JobOf, sql: Sql, fields: dict[str, Any], reason: str
) -> None:
    card_id = received(**fields)

    [job_id] = deliver(SendExpiryReminder(gift_card_id=card_id))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", reason)
    assert (reminders(sql), sends(sql)) == ([], [])


@pytest.mark.parametrize(
    ("given", "reason"),
    [("ada@example.com", None), (" Ada@Example.COM", None), ("eve@example.com", "recipient_changed"), (None, None)],
)
def test_an_address_in_the_message_is_compared_and_never_kept(
    received: Received, deliver: Deliver, job: JobOf, sql: Sql, given: str | None, reason: str | None
) -> None:
    card_id = received(recipient_email="ada@example.com")

    [job_id] = deliver(SendExpiryReminder(gift_card_id=card_id, recipient_email=given))

    assert job(job_id)["reason"] == reason
    assert len(reminders(sql)) == (0 if reason else 1)
    assert "@" not in str(sql("SELECT data FROM jobs"))


def test_a_reminder_of_an_end_that_was_moved_since_is_skipped(
    received: Received, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    card_id = received()
    sql("UPDATE gift_cards SET expires_on = expires_on + 30")

    [job_id] = deliver(SendExpiryReminder(gift_card_id=card_id, expiry_version=1))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "extended")


def test_a_reminder_of_an_unknown_card_waits_and_is_then_rejected(deliver: Deliver, job: JobOf, sql: Sql) -> None:
    envelope = Envelope(SendExpiryReminder(gift_card_id=uuid4()))

    deliver(envelope)
    first = job(envelope.id)["state"]
    sql("UPDATE jobs SET run_at = clock_timestamp(), enqueued_at = enqueued_at - interval '61 seconds'")
    deliver(envelope)

    assert (first, job(envelope.id)["state"]) == ("scheduled", "rejected")
