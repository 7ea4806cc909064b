"""A provider that refuses us: its breaker opens, the queue rests, no attempt is burnt, and a probe closes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from services.scheduler.relay import Relay
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from tests.outside import Outside

Card = Callable[..., UUID]
Deliver = Callable[..., list[UUID]]
Sql = Callable[..., list[dict[str, Any]]]
JobRow = Callable[[UUID], dict[str, Any]]


def refuse_us(outside: Outside, **how: Any) -> None:
    outside.behave("email", "refuse", phase="mail", code=550, text="5.7.1 your address is not welcome", **how)


def test_a_refusal_of_us_opens_the_breaker_and_the_next_job_does_not_even_try(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, job: JobRow
) -> None:
    refuse_us(outside)

    (first,) = deliver(SendGiftCardEmail(gift_card_id=card()))
    (second,) = deliver(SendGiftCardEmail(gift_card_id=card()))

    assert (job(first)["reason"], job(first)["attempt"]) == ("sender", 0)
    assert (job(second)["reason"], job(second)["attempt"]) == ("breaker_open", 0)
    assert outside.messages() == []
    assert [row["holds"] for row in sql("SELECT holds FROM breakers")] == ["email-delivery"]


def test_the_queue_of_a_broken_provider_rests_while_others_go_on(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, publisher: Publisher, job: JobRow
) -> None:
    refuse_us(outside)
    deliver(SendGiftCardEmail(gift_card_id=card()))
    (mail,) = sql("SELECT enqueue_job('send_gift_card_email', %s) AS id", json.dumps({"gift_card_id": str(card())}))
    (text,) = sql("SELECT enqueue_job('send_gift_card_sms', %s) AS id", json.dumps({"gift_card_id": str(card())}))

    Relay(publisher).publish_due()

    assert (job(mail["id"])["state"], job(text["id"])["state"]) == ("scheduled", "queued")


def test_a_probe_that_gets_through_closes_the_breaker(card: Card, deliver: Deliver, outside: Outside, sql: Sql) -> None:
    refuse_us(outside)
    deliver(SendGiftCardEmail(gift_card_id=card()))
    sql("UPDATE breakers SET probe_at = now()")

    deliver(SendGiftCardEmail(gift_card_id=card()))

    assert len(outside.messages("email")) == 1
    assert sql("SELECT FROM breakers") == []


def test_one_probe_is_made_at_a_time_and_one_that_fails_keeps_the_breaker_open_for_longer(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql
) -> None:
    refuse_us(outside, times=None)
    deliver(SendGiftCardEmail(gift_card_id=card()))
    sql("UPDATE breakers SET probe_at = now()")

    deliver(*[SendGiftCardEmail(gift_card_id=card()) for _ in range(5)])

    (row,) = sql("SELECT failures, probe_at > now() + interval '100 seconds' AS later FROM breakers")
    assert (row["failures"], row["later"]) == (2, True)
    assert len([m for m in outside.behaviours.as_json() if m["matched"] == 2]) == 1


def test_a_wrong_twilio_key_opens_twilios_breaker(
    card: Card, deliver: Deliver, outside: Outside, sql: Sql, setting: Callable[..., None]
) -> None:
    setting(twilio_api_secret="wrong")

    deliver(SendGiftCardSms(gift_card_id=card()))

    assert [(r["provider"], r["code"]) for r in sql("SELECT * FROM breakers")] == [("twilio", "20003")]


@pytest.fixture
def second(outside: Outside, setting: Callable[..., None]) -> Any:
    """Lend a second relay, tried when the first fails."""
    with Outside() as other:
        relay = {"host": "127.0.0.1", "port": other.smtp_port, "security": "none"}
        setting(smtp_fallbacks=json.dumps([relay]))
        yield other


@pytest.mark.parametrize(
    "trouble",
    [
        {"do": "refuse", "phase": "rcpt", "code": 451, "text": "4.3.0 later"},
        {"do": "refuse", "phase": "mail", "code": 550, "text": "5.7.1 not welcome"},
        {"do": "cut", "phase": "data"},
        {"do": "refuse", "phase": "connect", "code": 421, "text": "4.3.2 going down"},
    ],
)
def test_a_relay_that_fails_before_the_final_dot_is_replaced_by_the_next(
    trouble: dict[str, Any], card: Card, deliver: Deliver, outside: Outside, second: Outside, sql: Sql, job: JobRow
) -> None:
    outside.behave("email", **trouble)

    (job_id,) = deliver(SendGiftCardEmail(gift_card_id=card()))

    assert (len(outside.messages()), len(second.messages())) == (0, 1)
    assert job(job_id)["state"] == "succeeded"
    (row,) = sql("SELECT relay FROM deliveries")
    assert row["relay"] == f"smtp:127.0.0.1:{second.smtp_port}"


@pytest.mark.parametrize("accept", [True, False])
def test_an_unknown_outcome_never_goes_to_the_next_relay(
    accept: bool, card: Card, deliver: Deliver, outside: Outside, second: Outside, job: JobRow
) -> None:
    outside.behave("email", "cut", phase="dot", accept=accept)

    (job_id,) = deliver(SendGiftCardEmail(gift_card_id=card()))

    assert second.messages() == []
    assert job(job_id)["reason"] == "settling"


def test_a_refused_recipient_is_not_asked_for_at_the_next_relay(
    card: Card, deliver: Deliver, outside: Outside, second: Outside, job: JobRow
) -> None:
    outside.behave("email", "refuse", phase="rcpt", code=550, text="5.1.1 nobody here")

    (job_id,) = deliver(SendGiftCardEmail(gift_card_id=card()))

    assert second.messages() == []
    assert job(job_id)["reason"] == "recipient"
