"""What fits into an SMS: the GSM 7-bit alphabet (3GPP TS 23.038), and how many segments a text takes."""

from __future__ import annotations

import unicodedata

BASIC = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = set("^{}\\[~]|€\f")  # an escape and a character each
_GSM_7 = BASIC | EXTENDED
_ALIKE = {
    **dict.fromkeys("‘’‚‛′´`", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f\u3000", " "),
    "…": "...",
    "•": "*",
    "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "œ": "oe", "Œ": "OE",
}  # fmt: skip


def normalised(text: str) -> str:
    """Replace what looks alike in GSM-7 (quotes, dashes, spaces, accents that it lacks), if then all of it fits.

    Else the text stays as it is, but for invisible characters: a name in Japanese is worth its segments, and in the
    wide alphabet a curly quote costs no more than a straight one.
    """
    seen = "".join(c for c in unicodedata.normalize("NFC", text) if fits(c) or not _is_invisible(c))
    plain = "".join(map(_fitting, seen))
    return plain if fits(plain) else seen


def _is_invisible(c: str) -> bool:
    return unicodedata.category(c) in ("Cf", "Cc")


def _fitting(c: str) -> str:
    if fits(c):
        return c
    if c in _ALIKE:
        return _ALIKE[c]
    letter = unicodedata.normalize("NFKD", c)[0]
    return letter if fits(letter) else c


def fits(text: str) -> bool:
    """Tell whether a text is GSM-7 alone."""
    return _GSM_7.issuperset(text)


def segments(text: str) -> int:
    """Count the parts a text is sent and paid in: 160 or 153 septets each in GSM-7, 70 or 67 UTF-16 units else."""
    gsm = fits(text)
    sizes = [2 if c in EXTENDED else 1 for c in text] if gsm else [len(c.encode("utf-16-le")) // 2 for c in text]
    single, part = (160, 153) if gsm else (70, 67)
    if sum(sizes) <= single:
        return 1
    count, room = 1, part
    for size in sizes:  # no character is split over two parts
        if size > room:
            count, room = count + 1, part
        room -= size
    return count
