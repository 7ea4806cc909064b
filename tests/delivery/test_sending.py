"""One delivery: what is sent, what is not and why, and what happens when nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import DeliverGiftCard, SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.outside import Outside

Card = Callable[..., UUID]
Deliver = Callable[..., list[UUID]]
Sql = Callable[..., list[dict[str, Any]]]
JobRow = Callable[[UUID], dict[str, Any]]
SENDS = {"email": SendGiftCardEmail, "sms": SendGiftCardSms}


def delivery(sql: Sql, card_id: UUID) -> dict[str, Any]:
    (row,) = sql("SELECT * FROM deliveries WHERE gift_card_id = %s", card_id)
    return row


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_gift_is_sent_once_however_often_it_is_asked_for(
    channel: str, card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    card_id = card()
    asked = Envelope(SENDS[channel](gift_card_id=card_id))

    deliver(asked)
    deliver(asked)
    (second,) = deliver(SENDS[channel](gift_card_id=card_id))

    assert len(outside.messages(channel)) == 1
    assert delivery(sql, card_id)["state"] == "sent"
    assert job(asked.id)["state"] == "succeeded"
    assert (job(second)["state"], job(second)["reason"]) == ("skipped", "already_sent")


def test_two_workers_at_once_send_one_gift(card: Card, deliver: Deliver, outside: Outside) -> None:
    card_id = card()

    deliver(*[SendGiftCardEmail(gift_card_id=card_id) for _ in range(4)])

    assert len(outside.messages("email")) == 1


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("status = 'PENDING'", "pending"),
        ("status = 'REDEEMED'", "redeemed"),
        ("status = 'CANCELLED'", "cancelled"),
        ("expires_on = current_date - 3", "expired"),
    ],
)
def test_a_card_that_is_over_is_not_sent(
    channel: str, change: str, reason: str, card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    card_id = card()
    sql(f"UPDATE gift_cards SET {change} WHERE id = %s", card_id)

    (job_id,) = deliver(SENDS[channel](gift_card_id=card_id))

    assert outside.messages() == []
    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", reason)
    assert (delivery(sql, card_id)["state"], delivery(sql, card_id)["reason"]) == ("skipped", reason)


def test_a_hint_that_is_not_the_cards_recipient_is_never_written_to(
    card: Card, deliver: Deliver, outside: Outside, job: JobRow
) -> None:
    card_id = card(recipient_email="new@example.com")

    (job_id,) = deliver(SendGiftCardEmail(gift_card_id=card_id, recipient_email="old@example.com"))

    assert outside.messages() == []
    assert job(job_id)["reason"] == "recipient_changed"


def test_a_recipient_changed_between_hand_off_and_send_gets_the_gift_in_the_others_place(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql
) -> None:
    card_id = card(recipient_email="old@example.com")
    deliver(DeliverGiftCard(gift_card_id=card_id, method="email"))
    sql("UPDATE gift_cards SET recipient_email = 'new@example.com' WHERE id = %s", card_id)

    deliver(_handed_on(sql))

    assert [m["to"] for m in outside.messages("email")] == ["new@example.com"]
    states = sql("SELECT recipient_version, state, reason FROM deliveries ORDER BY recipient_version")
    assert [tuple(row.values()) for row in states] == [(1, "skipped", "recipient_changed"), (2, "sent", None)]


def _handed_on(sql: Sql) -> Envelope:
    (row,) = sql("SELECT id, data FROM jobs WHERE name LIKE 'send_%%' AND state = 'scheduled'")
    return Envelope(SendGiftCardEmail.model_validate(row["data"]), id=row["id"])


def test_a_bad_address_is_rejected_with_what_to_mend(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    mail, text = card(recipient_email="ada@localhost", recipient_phone=None), card(recipient_phone="+1415555")

    by_mail, by_text = deliver(SendGiftCardEmail(gift_card_id=mail), SendGiftCardSms(gift_card_id=text))

    assert (job(by_mail)["state"], job(by_mail)["reason"]) == ("rejected", "invalid_address")
    assert (job(by_text)["state"], job(by_text)["reason"]) == ("rejected", "invalid_number")
    assert "ada@" not in str(job(by_mail))
    assert delivery(sql, mail)["reason"] == "invalid_address"


def test_a_text_whose_answer_was_lost_is_found_by_asking_and_not_sent_again(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    card_id = card()
    outside.behave("sms", "cut", accept=True)
    envelope = Envelope(SendGiftCardSms(gift_card_id=card_id))

    deliver(envelope)
    unknown = delivery(sql, card_id)["state"], job(envelope.id)["reason"], job(envelope.id)["attempt"]
    deliver(envelope)

    assert unknown == ("unconfirmed", "settling", 0)
    assert len(outside.messages("sms")) == 1
    assert (delivery(sql, card_id)["state"], job(envelope.id)["state"]) == ("sent", "succeeded")


def test_a_mail_whose_answer_was_lost_is_sent_once_more_under_the_same_name_and_then_held(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    card_id = card()
    outside.behave("email", "cut", phase="dot", accept=True, times=2)
    envelope = Envelope(SendGiftCardEmail(gift_card_id=card_id))

    for _ in range(4):
        deliver(envelope)

    names = [m["message_id"] for m in outside.messages("email")]
    assert len(names) == 2
    assert len(set(names)) == 1
    assert (job(envelope.id)["state"], job(envelope.id)["reason"]) == ("failed", "unconfirmed")
    assert (delivery(sql, card_id)["state"], delivery(sql, card_id)["reason"]) == ("unconfirmed", "held")


def test_an_unknown_outcome_settles_before_anything_else_happens(
    card: Card, deliver: Deliver, outside: Outside, setting: Callable[..., None], sql: Sql
) -> None:
    setting(settle_s=3600)
    card_id = card()
    outside.behave("email", "cut", phase="dot", accept=True)
    envelope = Envelope(SendGiftCardEmail(gift_card_id=card_id))

    deliver(envelope)
    sql("UPDATE jobs SET run_at = now()")
    deliver(envelope)

    assert len(outside.messages("email")) == 1
    (row,) = sql("SELECT state, run_at > now() + interval '59 minutes' AS later FROM jobs")
    assert (row["state"], row["later"]) == ("scheduled", True)


@pytest.mark.parametrize(
    ("behaviour", "state", "reason", "attempt"),
    [
        ({"do": "refuse", "phase": "rcpt", "code": 451, "text": "4.3.0 later"}, "scheduled", "transient", 1),
        ({"do": "refuse", "phase": "rcpt", "code": 550, "text": "5.1.1 nobody here"}, "failed", "recipient", 1),
        ({"do": "refuse", "phase": "mail", "code": 550, "text": "5.7.1 policy"}, "scheduled", "sender", 0),
        ({"do": "cut", "phase": "data"}, "scheduled", "transient", 1),
    ],
)
def test_what_the_relay_says_decides_what_happens_next(
    behaviour: dict[str, Any],
    state: str,
    reason: str,
    attempt: int,
    card: Card,
    deliver: Deliver,
    outside: Outside,
    job: JobRow,
) -> None:
    outside.behave("email", **behaviour)

    (job_id,) = deliver(SendGiftCardEmail(gift_card_id=card()))

    row = job(job_id)
    assert (row["state"], row["reason"], row["attempt"]) == (state, reason, attempt)
    assert outside.messages() == []


def test_a_limited_provider_burns_no_attempt(card: Card, deliver: Deliver, outside: Outside, job: JobRow) -> None:
    outside.behave("sms", "refuse", code=20429, status=429, retry_after_s=17)

    (job_id,) = deliver(SendGiftCardSms(gift_card_id=card()))

    row = job(job_id)
    assert (row["state"], row["reason"], row["attempt"]) == ("scheduled", "rate_limited", 0)


def test_a_text_that_was_reported_undelivered_while_its_outcome_was_unknown_is_not_sent_again(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    outside.behave("sms", "cut", accept=True)
    envelope = Envelope(SendGiftCardSms(gift_card_id=card()))
    deliver(envelope)
    sql("UPDATE deliveries SET state = 'failed', settled_by = 'callback'")  # as a callback's report leaves it

    deliver(envelope)

    assert len(outside.messages("sms")) == 1
    assert (job(envelope.id)["state"], job(envelope.id)["reason"]) == ("failed", "undelivered")
