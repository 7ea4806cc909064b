"""Expiry of single cards and of all that are due."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import services.expiry.actors  # noqa: F401  # registers the actors
from shared.messages import ExpireDueGiftCards, ExpireGiftCard


def test_a_card_expired_by_two_workers_at_once_is_booked_once(
    card: Callable[..., UUID], deliver: Callable[..., Any], ledger: Callable[..., list[Decimal]]
) -> None:
    card_id = card(balance="25.00", expired=True)

    deliver(ExpireGiftCard(gift_card_id=card_id), ExpireGiftCard(gift_card_id=card_id))

    assert ledger(card_id) == [Decimal("-25.00")]


def test_a_message_on_the_broker_reaches_its_worker(
    card: Callable[..., UUID], worker: Any, publisher: Any, eventually: Any, ledger: Any
) -> None:
    card_id = card(expired=True)
    worker("gift-card-expiry")

    publisher.send(ExpireGiftCard(gift_card_id=card_id))

    eventually(lambda: ledger(card_id))


def test_a_sweep(card: Callable[..., UUID], deliver: Any, ledger: Any) -> None:
    ids = [card(expired=True) for _ in range(5)]
    deliver(ExpireDueGiftCards())
    assert all(ledger(i) for i in ids)
