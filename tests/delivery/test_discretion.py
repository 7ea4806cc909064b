"""What a provider says is kept without the card's own names and words."""

from __future__ import annotations

import json
from typing import Any

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.kinds import Deliver, Issue, JobOf, Sql
from tests.outside import Outside

PEOPLE: dict[str, Any] = {"recipient_name": "Zoë Quack", "sender_name": "li", "personal_message": "Marzipan for you"}


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_refusal_that_repeats_a_name_is_kept_without_it(
    channel: str, card: Issue, deliver: Deliver, job: JobOf, sql: Sql, outside: Outside
) -> None:
    text = "no such user: ZOË quack (from Li), marzipan for all"
    outside.behave(channel, "refuse", code=550 if channel == "email" else 21610, text=text)
    gift = Envelope({"email": SendGiftCardEmail, "sms": SendGiftCardSms}[channel](gift_card_id=card(**PEOPLE)))

    deliver(gift)

    kept = f"{job(gift.id)['error']} {json.dumps(sql('SELECT attempts FROM deliveries')[0]['attempts'])}"
    assert "no such user: … … (from …), … for all" in kept
    assert not any(word in kept.casefold() for word in ("zoë", "quack", "marzipan"))


def test_an_answer_that_repeats_a_name_is_kept_without_it(
    card: Issue, deliver: Deliver, sql: Sql, outside: Outside
) -> None:
    outside.behave("email", "refuse", phase="dot", accept=True, code=250, text="2.0.0 taken for Quack")

    deliver(SendGiftCardEmail(gift_card_id=card(**PEOPLE)))

    [delivery] = sql("SELECT state, attempts FROM deliveries")
    assert delivery["state"] == "sent"
    assert "taken for …" in json.dumps(delivery["attempts"], ensure_ascii=False)
