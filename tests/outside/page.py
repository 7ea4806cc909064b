"""The recipients' inbox as a web page, and the doors by which a test or a demo steers the stand-ins."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.outside.behaviour import Behaviour, Behaviours
from tests.outside.journal import Journal

SHOWN = 200
# The page runs its own script and nothing that a mail brings along.
SAFETY = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; form-action 'self'; base-uri 'none'",
    "Cache-Control": "no-store",
}


def _clock(at: str) -> str:
    """Give the time of today, or the date of another day."""
    moment = datetime.fromisoformat(at)
    return moment.strftime("%H:%M:%S" if moment.date() == datetime.now(UTC).date() else "%d %b")


class Inbox:
    """Serve the page, the journal as JSON, the behaviours and the health checks."""

    def __init__(self, journal: Journal, behaviours: Behaviours) -> None:
        self._journal = journal
        self._behaviours = behaviours
        pages = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, undefined=StrictUndefined
        )
        pages.filters["clock"] = _clock
        self._page = pages.get_template("inbox.html")

    def routes(self) -> list[web.RouteDef]:
        """Give the routes for aiohttp."""
        return [
            web.get("/", self.show),
            web.get(r"/messages/{n:\d+}", self.show),
            web.get("/messages.json", self.messages),
            web.get("/behaviour", self.behaviour),
            web.post("/behaviour", self.behave),
            web.delete("/behaviour", self.behave_well),
            web.get("/livez", self.healthy),
            web.get("/readyz", self.healthy),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Show the list, and one message beside it."""
        channel, words = request.query.get("channel", ""), request.query.get("q", "").strip()
        everything = self._journal.entries()
        found = [e for e in everything if channel in ("", e["channel"]) and _mentions(e, words)]
        page = self._page.render(
            messages=found[: -SHOWN - 1 : -1],
            found=len(found),
            total=len(everything),
            channel=channel,
            q=words,
            query=f"?{request.query_string}" if request.query_string else "",
            open=self._opened(request.match_info.get("n")),
        )
        return web.Response(text=page, content_type="text/html", headers=SAFETY)

    def _opened(self, n: str | None) -> dict[str, Any] | None:
        if n is None:
            return None
        try:
            entry = self._journal.whole(int(n))
        except IndexError:
            raise web.HTTPNotFound(text=f"no message {n}: it was never accepted, or the journal is new") from None
        return entry | (_parts(entry["raw"]) if entry["channel"] == "email" else {})

    async def messages(self, request: web.Request) -> web.Response:
        """Give the journal, filtered by channel and to; raw=1 adds each mail's source, after=N skips the first N."""
        entries = self._journal.entries(request.query.get("channel"), request.query.get("to"))
        entries = [entry for entry in entries if entry["n"] >= int(request.query.get("after", 0))]
        if request.query.get("raw"):
            entries = [self._journal.whole(entry["n"]) for entry in entries]
        return web.json_response(entries)

    async def behaviour(self, _request: web.Request) -> web.Response:
        """Give the rules that are left."""
        return web.json_response(self._behaviours.as_json())

    async def behave(self, request: web.Request) -> web.Response:
        """Add a rule: a JSON object with the fields of `Behaviour`."""
        try:
            rule = Behaviour(**await request.json())
        except (TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._behaviours.add(rule)
        return web.json_response(self._behaviours.as_json(), status=201)

    async def behave_well(self, _request: web.Request) -> web.Response:
        """Drop all rules."""
        self._behaviours.clear()
        return web.json_response([])

    async def healthy(self, _request: web.Request) -> web.Response:
        """Say that this process serves."""
        return web.Response(text="ok\n")


def _mentions(entry: dict[str, Any], words: str) -> bool:
    return words.casefold() in f"{entry['to']} {entry['subject']}".casefold()


def _parts(raw: str) -> dict[str, Any]:
    message = message_from_string(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        "text": text.get_content() if text else None,
        "html": _with_images(message, html.get_content()) if html else None,
        "header_lines": [(name, str(value)) for name, value in message.items()],
        "files": [(part.get_filename(), part.get_content_type()) for part in message.walk() if part.get_filename()],
    }


def _with_images(message: EmailMessage, html: str) -> str:
    """Put inline images into the HTML itself, since a page cannot follow cid: addresses (RFC 2392)."""
    for part in message.walk():
        if cid := part.get("Content-ID"):
            image = base64.b64encode(part.get_payload(decode=True)).decode()  # type: ignore[arg-type]
            html = html.replace(f"cid:{cid.strip('<> ')}", f"data:{part.get_content_type()};base64,{image}")
    return html
