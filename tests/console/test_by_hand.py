"""From the command line to the mailbox: what an operator asks for is what the recipient gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import DeliverGiftCard, SendGiftCardEmail
from shared.wire import Envelope, decode
from tests.console.conftest import Cli, Read
from tests.kinds import Deliver, Issue, Sql
from tests.outside import Outside

WHY = ("--reason", "she asked for it", "--as", "kim")
Work = Callable[[], None]


@pytest.fixture
def work(deliver: Deliver, sql: Sql) -> Work:
    """Run every job that is due, and those it hands on to, as relay and workers would."""

    def run() -> None:
        for _ in range(4):
            for row in sql("SELECT * FROM jobs WHERE state = 'scheduled' AND run_at <= clock_timestamp()"):
                body = {"specversion": "1.0", "id": str(row["id"]), "source": "t", "type": row["name"]}
                deliver(decode(json.dumps(body | {"data": row["data"]}, default=str).encode()))

    return run


def test_a_gift_is_sent_again(card: Issue, deliver: Deliver, cli: Cli, work: Work, outside: Outside) -> None:
    card_id = card()
    deliver(SendGiftCardEmail(gift_card_id=card_id))

    cli("resend", card_id, *WHY)
    work()

    assert [message["to"] for message in outside.messages("email")] == ["ada@example.com"] * 2
    assert cli("story", card_id).output.count("gift by email: the provider accepted it") == 2


def test_a_gift_that_went_astray_goes_to_the_corrected_recipient(
    card: Issue, deliver: Deliver, cli: Cli, work: Work, outside: Outside, sql: Sql
) -> None:
    card_id = card(recipient_email="wrong@example.com")
    deliver(SendGiftCardEmail(gift_card_id=card_id))

    cli("correct", card_id, *WHY, answer="right@example.com\n\n")
    work()

    assert [message["to"] for message in outside.messages("email")] == ["wrong@example.com", "right@example.com"]
    assert sql("SELECT FROM events WHERE type = 'gift_card.code_rotation_needed'")


def test_a_scheduled_gift_is_moved_to_now_or_taken_back(
    card: Issue, deliver: Deliver, cli: Cli, work: Work, outside: Outside, read: Read
) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    moved, dropped = card(recipient_email="moved@example.com"), card(recipient_email="dropped@example.com")
    for card_id in (moved, dropped):
        deliver(Envelope(DeliverGiftCard(gift_card_id=card_id, method="email", deliver_at=later), run_at=later))

    cli("reschedule", moved, "now", *WHY)
    cli("cancel-delivery", dropped, *WHY)
    work()

    assert [message["to"] for message in outside.messages()] == ["moved@example.com"]
    assert read("story", dropped)["answers"] == ["gift by email: taken back before it was sent"]


def test_a_gift_that_is_held_reaches_its_recipient_when_an_operator_says_so(
    card: Issue, cli: Cli, work: Work, outside: Outside, sql: Sql
) -> None:
    card_id = card()
    [held] = sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state, reason)"
        " VALUES ('gift:held', %s, 'gift', 'sms', 1, 'unconfirmed', 'held') RETURNING id",
        card_id,
    )

    cli("resolve", held["id"], "--send-again", *WHY)
    work()

    assert [message["to"] for message in outside.messages("sms")] == ["+14155550123"]
    states = [(row["state"], row["reason"]) for row in sql("SELECT state, reason FROM deliveries ORDER BY created_at")]
    assert states == [("unconfirmed", "sent_again"), ("sent", None)]
