"""What people ask for by hand: send again, take back, move, correct the recipient; each audited with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import (
    CancelDelivery,
    CorrectRecipient,
    DeliverGiftCard,
    RescheduleDelivery,
    ResendGiftCard,
    SendGiftCardEmail,
)
from shared.wire import Envelope, decode
from tests.outside import Outside

Card = Callable[..., UUID]
Deliver = Callable[..., list[UUID]]
Sql = Callable[..., list[dict[str, Any]]]
JobRow = Callable[[UUID], dict[str, Any]]
WHY: dict[str, Any] = {"requested_by": "support.ada", "reason": "the recipient asked for it"}


@pytest.fixture
def run_all(deliver: Deliver, sql: Sql) -> Callable[[], None]:
    """Run every job that is due, and those it hands on to, as relay and workers would."""

    def run() -> None:
        due = "SELECT * FROM jobs WHERE state = 'scheduled' AND run_at <= clock_timestamp()"
        for _ in range(5):
            for row in sql(due):
                body = {
                    "specversion": "1.0",
                    "id": str(row["id"]),
                    "source": "t",
                    "type": row["name"],
                    "data": row["data"],
                }
                deliver(decode(json.dumps(body, default=str).encode()))

    return run


def audits(sql: Sql) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in sql("SELECT who, action, reason FROM audit ORDER BY id")]


def test_a_gift_is_sent_again_once_per_request_and_the_request_is_kept(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, run_all: Callable[[], None]
) -> None:
    card_id = card()
    deliver(SendGiftCardEmail(gift_card_id=card_id))
    again = Envelope(ResendGiftCard(gift_card_id=card_id, **WHY))

    deliver(again)
    deliver(again)
    run_all()

    assert len(outside.messages("email")) == 2
    assert [row["state"] for row in sql("SELECT state FROM deliveries")] == ["sent", "sent"]
    assert audits(sql) == [("support.ada", "resend_gift_card", "the recipient asked for it")]


def test_a_card_that_is_over_is_not_sent_again(card: Card, deliver: Deliver, sql: Sql, job: JobRow) -> None:
    card_id = card()
    sql("UPDATE gift_cards SET status = 'REDEEMED' WHERE id = %s", card_id)

    (job_id,) = deliver(ResendGiftCard(gift_card_id=card_id, **WHY))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "redeemed")


def test_a_cancelled_delivery_is_never_made(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, run_all: Callable[[], None], job: JobRow
) -> None:
    card_id, at = card(), datetime.now(UTC) + timedelta(days=3)
    asked = Envelope(DeliverGiftCard(gift_card_id=card_id, method="both", deliver_at=at), run_at=at)
    deliver(asked)

    deliver(CancelDelivery(gift_card_id=card_id, **WHY))
    sql("UPDATE jobs SET run_at = now()")
    run_all()

    assert job(asked.id)["state"] == "cancelled"
    assert outside.messages() == []
    assert audits(sql) == [("support.ada", "cancel_delivery", "the recipient asked for it")]


def test_a_gift_that_is_handed_over_but_not_sent_is_taken_back_too(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, run_all: Callable[[], None]
) -> None:
    card_id = card()
    deliver(DeliverGiftCard(gift_card_id=card_id, method="both"))

    deliver(CancelDelivery(gift_card_id=card_id, **WHY))
    run_all()

    assert outside.messages() == []
    assert {row["state"] for row in sql("SELECT state FROM deliveries")} == {"cancelled"}


def test_there_may_be_nothing_to_cancel(card: Card, deliver: Deliver, job: JobRow) -> None:
    (job_id,) = deliver(CancelDelivery(gift_card_id=card(), **WHY))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "nothing_to_cancel")


def test_a_delivery_is_moved_to_a_wall_time_and_made_then(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, run_all: Callable[[], None], job: JobRow
) -> None:
    card_id, at = card(expires_on="2035-01-01"), datetime.now(UTC) + timedelta(days=3)
    asked = Envelope(DeliverGiftCard(gift_card_id=card_id, method="email", deliver_at=at), run_at=at)
    deliver(asked)

    wall = {"deliver_local": datetime(2031, 12, 25, 9), "deliver_tz": "Europe/Berlin"}
    deliver(RescheduleDelivery(gift_card_id=card_id, **wall, **WHY))
    later = job(asked.id)["run_at"]
    deliver(RescheduleDelivery(gift_card_id=card_id, **WHY))
    run_all()

    assert later == datetime.fromisoformat("2031-12-25T08:00+00:00")
    assert len(outside.messages("email")) == 1


def test_a_delivery_is_not_moved_past_its_cards_end(card: Card, deliver: Deliver, job: JobRow) -> None:
    at = datetime.now(UTC) + timedelta(days=500)

    (job_id,) = deliver(RescheduleDelivery(gift_card_id=card(), deliver_at=at, **WHY))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("rejected", "deliver_at_after_expiry")


def test_a_gift_that_went_to_a_wrong_address_goes_to_the_corrected_one_and_its_code_is_to_be_changed(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, run_all: Callable[[], None]
) -> None:
    card_id = card(recipient_email="wrong@example.com")
    deliver(SendGiftCardEmail(gift_card_id=card_id))
    sql("UPDATE gift_cards SET recipient_email = 'right@example.com' WHERE id = %s", card_id)
    corrected = Envelope(CorrectRecipient(gift_card_id=card_id, recipient_version=2, **WHY))

    deliver(corrected)
    deliver(corrected)
    run_all()

    assert [m["to"] for m in outside.messages("email")] == ["wrong@example.com", "right@example.com"]
    assert sql("SELECT FROM events WHERE type = 'gift_card.code_rotation_needed' AND subject = %s", card_id)


def test_a_correction_before_the_gift_was_sent_needs_nothing_more(
    card: Card, deliver: Deliver, sql: Sql, job: JobRow
) -> None:
    card_id = card()
    sql("UPDATE gift_cards SET recipient_email = 'right@example.com' WHERE id = %s", card_id)

    (job_id,) = deliver(CorrectRecipient(gift_card_id=card_id, recipient_version=2, **WHY))
    (old,) = deliver(CorrectRecipient(gift_card_id=card_id, recipient_version=3, **WHY))

    assert job(job_id)["reason"] == "not_sent_yet"
    assert job(old)["reason"] == "superseded"


@pytest.mark.parametrize(
    "words", [{"reason": ""}, {"reason": "write to ada@example.com"}, {"requested_by": "ada@example.com"}]
)
def test_who_and_why_are_needed_and_are_no_place_for_addresses(words: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CancelDelivery(gift_card_id=UUID(int=1), **(WHY | words))
