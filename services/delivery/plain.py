"""Strangers' words made harmless: no control characters, no turned directions, no links, no extra lines."""

from __future__ import annotations

import re
import unicodedata

_OVERRIDES = {chr(n) for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)}
# Mail programs turn whatever looks like an address into a link; a word joiner (invisible) stops them.
_LINKABLE = re.compile(r"(?<=:)(?=//)|(?<=\w)(?=\.[^\W\d_])|(?<=\w)(?=@\w)")


def one_line(text: str, limit: int = 200) -> str:
    """Make text fit for a header: no line breaks, no control characters."""
    return plain(" ".join(text.split()), limit)


def name(text: str | None, limit: int) -> str:
    """Make somebody's name fit for a header; nothing when nothing of it can be seen."""
    shown = one_line(text or "", limit)
    return shown if any(unicodedata.category(c)[0] not in "CZ" for c in shown) else ""


def plain(text: str, limit: int) -> str:
    """Take control characters and direction overrides out, and shorten to ``limit`` characters."""
    kept = "".join(c for c in text if c == "\n" or not (unicodedata.category(c) == "Cc" or c in _OVERRIDES))
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


def unlinked(text: str) -> str:
    """Keep web and mail addresses in a stranger's words from becoming links."""
    return _LINKABLE.sub("\u2060", text)


def first_name(whole: str) -> str:
    """Give the first of somebody's names, past titles such as "Dr."; all of a name that is written without spaces."""
    names = one_line(whole).replace(",", " ").split()
    return next((word for word in names if not word.endswith(".")), " ".join(names))
