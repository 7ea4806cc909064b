"""Birds that must not sing: names, words, a code, addresses planted on cards, looked for where none may be."""

from __future__ import annotations

from cryptography.fernet import Fernet

NAME, WORDS, CODE = "Zephyrine Quackenbush", "Wombats adore marzipan", "QXZ7-KWJ9-VVPD"
EMAIL, PHONE = "zephyrine.quackenbush@example.com", "+4915999777555"
# What is left of each when only a part of it gets out; the last four of a code and of a number may be shown.
SONGS = [NAME, "quackenbush", "marzipan", "QXZ7-KWJ9", EMAIL, "zephyrine", PHONE[1:-2]]


def secrets(key: str) -> dict[str, str]:
    """Give a card's code as it lies in the table."""
    return {"code_last4": CODE[-4:], "code_encrypted": Fernet(key).encrypt(CODE.encode()).decode()}


def song(text: bytes | str) -> str:
    """Give the first of them that is found in a text, in whatever case; empty when all are silent."""
    heard = (text if isinstance(text, bytes) else text.encode()).lower()
    return next((one for one in SONGS if one.lower().encode() in heard), "")
