"""A worker that is killed while it sends: nothing is lost, no text goes twice, and a mail only as a counted resend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from shared.messages import DeliverGiftCard, SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from tests.outside import Outside

Sql = Callable[..., list[dict[str, Any]]]
# The scheduler also makes jobs of its own, for services that do not run here.
UNFINISHED = "SELECT FROM jobs WHERE gift_card_id IS NOT NULL AND finished_at IS NULL"
MAIL, TEXT = SendGiftCardEmail, SendGiftCardSms


@pytest.mark.parametrize(
    ("message", "point", "accepted", "resends"),
    [
        (MAIL, "claimed", 1, 0),  # before anything happened
        (MAIL, "sending", 1, 1),  # after the attempt was written down, before the call
        (MAIL, "accepted", 2, 1),  # after the relay took it, before that was written down: unknown, so once more
        (MAIL, "effect", 1, 0),  # after it was written down, before the job's end
        (MAIL, "committed", 1, 0),  # after the job's end, before the ack
        (TEXT, "claimed", 1, 0),
        (TEXT, "sending", 1, 1),
        (TEXT, "accepted", 1, 0),  # Twilio can be asked, so it is not sent again
        (TEXT, "effect", 1, 0),
        (TEXT, "committed", 1, 0),
    ],
)
def test_a_gift_survives_the_death_of_its_worker(
    message: type[SendGiftCardEmail] | type[SendGiftCardSms],
    point: str,
    accepted: int,
    resends: int,
    card: Callable[..., UUID],
    process: Callable[..., Any],
    publisher: Publisher,
    outside: Outside,
    sql: Sql,
    eventually: Callable[..., None],
    forsake: Callable[[], None],
) -> None:
    process("scheduler")
    doomed = process("delivery", failpoints=f"{point}=kill")

    job_id = publisher.send(message(gift_card_id=card()))
    doomed.wait(60)
    forsake()
    process("delivery")

    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state IN ('succeeded', 'skipped')", job_id))
    (row,) = sql("SELECT state, resends, message_id FROM deliveries")
    assert (row["state"], row["resends"], len(outside.messages())) == ("sent", resends, accepted)
    assert {m.get("message_id") for m in outside.messages()} == {row["message_id"]}


@pytest.mark.parametrize("point", ["claimed", "effect", "committed"])
def test_a_hand_off_survives_the_death_of_its_worker(
    point: str,
    card: Callable[..., UUID],
    process: Callable[..., Any],
    publisher: Publisher,
    outside: Outside,
    sql: Sql,
    eventually: Callable[..., None],
    forsake: Callable[[], None],
) -> None:
    process("scheduler")
    doomed = process("delivery", failpoints=f"{point}=kill")

    publisher.send(DeliverGiftCard(gift_card_id=card(), method="email"))
    doomed.wait(60)
    forsake()
    process("delivery")

    eventually(lambda: outside.messages("email") and not sql(UNFINISHED))
    assert len(outside.messages("email")) == 1
    assert len(sql("SELECT FROM deliveries")) == 1
