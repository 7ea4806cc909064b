"""Pages from templates: who looks, where they may go, and the line that the last act left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.console import tables
from services.console.masks import masked
from services.console.web import access, charts, sessions

HERE = Path(__file__).parent.parent
# What the menu shows, in this order, to whoever may see it.
NAV = {
    "/": "Overview",
    "/jobs": "Jobs",
    "/failed": "Failed",
    "/bulk": "Bulk",
    "/workers": "Workers",
    "/schedules": "Schedules",
    "/cards": "Cards",
    "/deliveries": "Deliveries",
    "/suppressions": "Suppressions",
    "/templates": "Templates",
    "/forecast": "Forecast",
    "/audit": "Audit",
}
# Tones of the words of state; see static/console.css.
TONES = {
    "good": ("succeeded", "sent", "delivered", "ACTIVE", "resumed", "done"),
    "busy": ("queued", "running", "sending", "scheduled", "will", "asked for", "made", "prepared"),
    "warn": (
        "skipped",
        "cancelled",
        "suppressed",
        "paused",
        "EXPIRED",
        "REDEEMED",
        "CANCELLED",
        "aborted",
        "discarded",
    ),
    "bad": ("failed", "rejected", "bounced"),
    "unknown": ("unconfirmed",),
}
_TONE_OF = {word: tone for tone, words in TONES.items() for word in words}


def render(request: Request, template: str, found: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """Give a page. ``found`` is what the API gives at the same path."""
    said = sessions.said(request)
    user = getattr(request.state, "user", None)
    session = getattr(request.state, "session", None) or sessions.Session()
    nav = [(path, label) for path, label in NAV.items() if user and user.role >= (access.needed("GET", path) or 0)]
    given = {"user": user, "csrf": session.csrf, "nav": nav, "here": request.url.path, "said": said, "request": request}
    page = HTMLResponse(_pages.get_template(template).render(**given, **found), status)
    if said:
        sessions.unsay(page)
    return page


def moment(at: datetime | None) -> str:
    """Write a time in UTC to the second."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def amount(value: Decimal | None) -> str:
    """Write money, or nothing."""
    return "" if value is None else tables.money(value)


def span(seconds: float | None) -> str:
    """Write a length of time in its two greatest units: 3 d 4 h, 2 min 5 s, 40 s, 250 ms."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    left, words = round(seconds), list[str]()
    for unit, size in {"d": 86400, "h": 3600, "min": 60, "s": 1}.items():
        if left >= size and len(words) < 2:
            words.append(f"{left // size} {unit}")
        left %= size
    return " ".join(words)


def number(value: float | None) -> str:
    """Write a number with its thousands apart."""
    return "" if value is None else f"{value:,.1f}".removesuffix(".0")


def _environment() -> Environment:
    pages = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"moment": moment, "money": amount, "span": span, "number": number, "masked": masked}
    pages.filters |= {"stacked": charts.stacked, "line": charts.line}
    pages.filters |= {"tone": lambda word: _TONE_OF.get(str(word), "plain")}
    return pages


_pages = _environment()
