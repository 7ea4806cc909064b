"""Our mails and texts as their readers see them: made by `make templates` from the usual sample of each language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse

from services.console.session import Refused, known
from services.console.web import pages
from services.console.web.screens import router, screen
from services.console.web.shields import HEADERS

FOLDER = pages.HERE / "previews"
# A mail has its styles in itself, and runs and fetches nothing; our own page alone may frame it.
POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@screen("/templates", "templates.html")
def list_templates(template: str = "gift_card", language: str = "en") -> dict[str, Any]:
    """Show a template in a language: ``text`` is subject, plain text and SMS; the HTML is beside it."""
    text = _file(language, template, "txt").read_text("utf-8")
    return {"template": template, "language": language, "text": text, "templates": _all(), "languages": _languages()}


@router.get("/templates/{language}/{template}", include_in_schema=False)
def show_template(language: str, template: str) -> Response:
    """Give a mail as it is."""
    mail = _file(language, template, "html").read_text("utf-8")
    own = {"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(mail, headers=HEADERS | own)


def _languages() -> list[str]:
    return sorted(folder.name for folder in FOLDER.iterdir())


def _all() -> list[str]:
    return sorted({file.stem for file in FOLDER.glob("*/*.txt")})


def _file(language: str, template: str, ending: str) -> Path:
    """Find a file by names that are there. Raises Refused for others."""
    known(language, "language", _languages())
    known(template, "template", _all())
    file = FOLDER / language / f"{template}.{ending}"
    if not file.exists():
        raise Refused(f"{template} is not there in {language}: run 'make templates'")
    return file
