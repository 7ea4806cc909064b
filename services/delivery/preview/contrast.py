"""Whether everybody can read it: the contrast that WCAG 2.2 asks for, in a light and in a dark mail program."""

from __future__ import annotations

import re

import css_inline

from services.delivery.preview.page import Page

LEAST = 4.5  # WCAG 2.2, 1.4.3, level AA, for text of any size
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\)\s*\{((?:[^{}]*\{[^{}]*\})*)\s*\}")


def too_pale(html: str) -> list[str]:
    """Name the pieces of text whose contrast is below AA against anything behind them."""
    found = []
    for words, look in Page(html).pieces:
        least = min(ratio(look.colour, behind) for behind in look.behind)
        if words.strip() and least < LEAST:
            found.append(f"“{words.strip()[:30]}” has a contrast of {least:.1f}: {look.colour} on {look.behind}")
    return found


def darkened(html: str) -> str:
    """Give the HTML as a dark mail program shows it: the rules for the dark are inlined over those for the light.

    Raises:
        ValueError: there are no rules for the dark.
    """
    unwrapped, count = _DARK.subn(r"\1", html)
    if not count:
        raise ValueError("no rules for dark mode: see layout.html")
    return css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False).inline(unwrapped)


def ratio(one: str, other: str) -> float:
    """Give the contrast of two colours such as #17504c, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
