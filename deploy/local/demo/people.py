"""Whom the demonstration gives cards to: names, languages, currencies and zones of the world, an address each."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

_PLACES = [
    ("de-DE", "EUR", "Europe/Berlin", "+49151234{:05d}"),
    ("en-US", "USD", "America/New_York", "+1212555{:04d}"),
    ("en-GB", "GBP", "Europe/London", "+447400{:06d}"),
    ("ja-JP", "JPY", "Asia/Tokyo", "+819012{:06d}"),
    ("en-AU", "AUD", "Australia/Lord_Howe", "+61412{:06d}"),
    ("ar-KW", "KWD", "Asia/Kuwait", "+965500{:05d}"),
    ("es-CL", "CLP", "America/Santiago", "+569612{:05d}"),
    ("en-KI", "AUD", "Pacific/Kiritimati", "+61413{:06d}"),
]
_NAMES = ["Ada", "Grace", "Zoë", "José", "Yuki", "Leila", "Noah", "Mia", "Arun", "Chloé", "Ivo", "Sanna"]
_WORDS = [None, "Happy birthday!", "Enjoy — you have earned it.", "From all of us, with love.", "For a rainy day."]


@dataclass(frozen=True)
class Person:
    """One recipient. Every address and number is used once, so that the inbox tells who got what."""

    name: str
    sender: str
    email: str
    phone: str
    locale: str
    currency: str
    zone: str
    balance: Decimal
    words: str | None


def person(number: int, chance: random.Random) -> Person:
    """Make up person number ``number``, the same for the same seed."""
    locale, currency, zone, phone = _PLACES[number % len(_PLACES)]
    name = chance.choice(_NAMES)
    minor = 0 if currency in ("JPY", "CLP") else 3 if currency == "KWD" else 2
    amount = Decimal(chance.randrange(5, 200)) * (100 if minor == 0 else 1)
    return Person(
        name=name,
        sender=chance.choice(_NAMES),
        email=f"{unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode().lower()}.{number}@example.com",
        phone=phone.format(number),
        locale=locale,
        currency=currency,
        zone=zone,
        balance=amount + (Decimal(chance.randrange(10**minor)) / 10**minor if minor else 0),
        words=chance.choice(_WORDS),
    )
