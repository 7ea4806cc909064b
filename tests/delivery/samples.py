"""A card, settings that point at the stand-in, and a gift sent through it: what several test files begin with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest

from services.delivery import email
from services.delivery.providers import Accepted, ProviderError
from services.delivery.rendering import CardView
from shared.settings import Settings
from tests.outside import Outside

CODE = "GIFT-7K2M-9QXD-44TN"
MAIL_TO = "mia@example.com"
SMS_TO = "+14155552671"
DELIVERY = UUID("0191d1d0-0000-7000-8000-000000000001")


def card(**fields: Any) -> CardView:
    """Give a card of 25.00 EUR from Leo to Mia, but for the fields given."""
    given: dict[str, Any] = {
        "gift_card_id": UUID(int=1),
        "code": CODE,
        "code_last4": "44TN",
        "balance": Decimal("25.00"),
        "currency": "EUR",
        "expires_on": date(2026, 12, 31),
        "recipient_name": "Mia",
        "sender_name": "Leo",
    }
    return CardView(**(given | fields))


def settings_for(outside: Outside | None = None, **fields: Any) -> Settings:
    """Give settings that point at the stand-in, but for the fields given."""
    given: dict[str, Any] = {"database_url": "postgresql://x", "rabbitmq_url": "amqp://x"}
    return Settings.model_validate(given | (outside.settings() if outside else {}) | fields)


def send_gift(outside: Outside, to: str = MAIL_TO, *, final_timeout_s: float = 5, **fields: Any) -> Accepted:
    """E-mail the sample card; ``fields`` are settings."""
    settings = settings_for(outside, **({"smtp_timeout_s": 5} | fields))
    message = email.compose(card(), "gift_card", to, DELIVERY, settings)
    return email.send(email.letter(message, to), settings, final_timeout_s=final_timeout_s)


def refused(act: Callable[..., object], *args: Any, **how: Any) -> ProviderError:
    """Give the error that calling ``act`` ends with."""
    with pytest.raises(ProviderError) as raised:
        act(*args, **how)
    return raised.value


class Page(HTMLParser):
    """Collect the tags and the text of an HTML part."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]
