"""Cards that are hard to put into words, and every message about them in every language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.delivery.rendering import CardView, Rendered, render
from services.delivery.words import languages, template_ids

CODE = "GIFT-7K2M-9QXD-44TN"
SHOP_URL = "https://shop.example.com"
UNSUBSCRIBE_URL = "https://shop.example.com/u/0191d1d0"

# Recipient, sender, message, currency and balance as they are usual where a language is spoken.
USUAL = {
    "en": ("Mia Carter", "Leo", "Happy birthday, Mia!\nBuy yourself something lovely. 🎂", "USD", "50.00"),
    "de": ("Mia Weißmüller", "Jürgen", "Alles Gute zum Geburtstag!\nGönn dir etwas Schönes. 🎂", "EUR", "50.00"),
    "es": ("Lucía Núñez", "Íñigo", "¡Feliz cumpleaños!\nDate un capricho. 🎂", "EUR", "50.00"),
    "fr": ("Zoé Lefèvre", "François", "Joyeux anniversaire !\nFaites-vous plaisir. 🎂", "EUR", "50.00"),
    "ja": ("山田 花子", "佐藤 健太", "お誕生日おめでとう！\n好きなものを選んでね。🎂", "JPY", "5000"),
}
LONG_NAME = "Maximiliane Friederike 🎁 Charlotte Hohenlohe-Schillingsfürst-Rechtern-Limpurg"
LONG_SENDER = "Großtante Wilhelmina-Adelheid & Onkel Bartholomäus-Friedrich von der Weide-Ahlen"
AWKWARD_MESSAGE = (
    "Look at https://evil.example/win?a=1&b=2 or www.evil.example, write to me@evil.example!\n"
    "<script>alert(1)</script> <b>bold</b> & \"quoted\" 'single' — 🎁👩‍👩‍👧🇯🇵 עברית العربية\n"
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnungsentwurfsvorlage\n\n" + "All the best. " * 30
)[:500]


@dataclass(frozen=True)
class Message:
    """Hold one message as it would be sent, and the card that it is about."""

    template_id: str
    language: str
    sample: str
    view: CardView
    mail: Rendered

    @property
    def name(self) -> str:
        """Name its files, without ending; those of the usual card bear the template's name alone."""
        return self.template_id if self.sample == "usual" else f"{self.template_id}.{self.sample}"


def messages() -> Iterator[Message]:
    """Render every template in every language for every sample."""
    for language in languages():
        for sample, view in cards(language).items():
            for template_id in template_ids():
                yield Message(template_id, language, sample, view, render(template_id, view))


def cards(locale: str) -> dict[str, CardView]:
    """Give the samples by name, for readers of that locale."""
    recipient, sender, message, currency, balance = USUAL.get(locale, USUAL["en"])
    usual = {"recipient_name": recipient, "sender_name": sender, "personal_message": message, "reason": "email_refused"}
    return {
        "usual": _card(locale, balance, currency, days_left=7, **usual),
        "awkward": _card(
            locale, "1234567.500", "KWD", days_left=1, recipient_name=LONG_NAME, sender_name=LONG_SENDER,
            personal_message=AWKWARD_MESSAGE, shop_name="Müller & Söhne <Outlet> 渋谷店", reason="no_address",
        ),
        "rtl": _card(
            locale, "80.00", "EUR", days_left=2, recipient_name="נועה כהן", sender_name="أحمد", reason="unconfirmed",
            personal_message="مبروك! עם אהבה — with love",
        ),
        "bare": _card(locale, "1", "JPY", days_left=None, unsubscribe_url=None),
    }  # fmt: skip


def _card(locale: str, balance: str, currency: str, **fields: Any) -> CardView:
    given = {"shop_url": SHOP_URL, "shop_name": "Marlow & Finch", "unsubscribe_url": UNSUBSCRIBE_URL} | fields
    return CardView(
        gift_card_id=UUID(int=1),
        code=CODE,
        code_last4=CODE[-4:],
        balance=Decimal(balance),
        currency=currency,
        expires_on=date(2026, 12, 31),
        locale=locale,
        **given,
    )
