"""The purchaser is told of a gift that could not be delivered: in their language, without the code, and once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import SendGiftCardEmail
from shared.wire import decode
from tests.conftest import CODE
from tests.outside import Outside

Sql = Callable[..., list[dict[str, Any]]]


def run_notices(sql: Sql, deliver: Callable[..., Any]) -> None:
    for row in sql("SELECT id, data FROM jobs WHERE data ->> 'template_id' = 'gift_undeliverable'"):
        event = {"specversion": "1.0", "id": str(row["id"]), "source": "t", "type": "send_gift_card_email"}
        deliver(decode(json.dumps(event | {"data": row["data"]}).encode()))


def test_a_refused_gift_without_another_way_is_told_to_its_purchaser(
    card: Callable[..., UUID], deliver: Callable[..., Any], outside: Outside, sql: Sql
) -> None:
    outside.behave("email", "refuse", phase="rcpt", code=550, text="5.1.1 nobody here", to="ada@example.com")
    card_id = card(
        recipient_name="Ada", recipient_phone=None, purchaser_email="grace@example.com", purchaser_locale="de-DE"
    )

    deliver(SendGiftCardEmail(gift_card_id=card_id))
    run_notices(sql, deliver)
    run_notices(sql, deliver)

    (notice,) = outside.messages("email")
    assert notice["to"] == "grace@example.com"
    assert CODE not in notice["raw"]
    (row,) = sql("SELECT state, locale FROM deliveries WHERE kind = 'notice'")
    assert (row["state"], row["locale"]) == ("sent", "de")


def test_a_refused_gift_goes_by_sms_where_the_card_has_a_number_and_nobody_is_troubled(
    card: Callable[..., UUID], deliver: Callable[..., Any], outside: Outside, sql: Sql
) -> None:
    outside.behave("email", "refuse", phase="rcpt", code=550, text="5.1.1 nobody here")

    deliver(SendGiftCardEmail(gift_card_id=card(purchaser_email="grace@example.com")))

    rows = sql("SELECT channel, kind, state FROM deliveries ORDER BY channel")
    assert [tuple(row.values()) for row in rows] == [("email", "gift", "failed"), ("sms", "gift", "queued")]
    assert sql("SELECT FROM suppressions WHERE channel = 'email' AND reason = 'hard_bounce'")
