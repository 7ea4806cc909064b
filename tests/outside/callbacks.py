"""Twilio's status callbacks: signed posts to the StatusCallback of a message, when a test or a demo asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from tests.outside.journal import Entry

AUTH_TOKEN = "the-stand-in-signs-with-this"
LONGEST_WAIT = ClientTimeout(total=15)  # as long as Twilio waits


def form(entry: Entry, status: str, error_code: int | None = None) -> dict[str, str]:
    """Give the fields that Twilio posts for a status of a message."""
    fields = {
        "AccountSid": "AC" + "0a" * 16,
        "ApiVersion": "2010-04-01",
        "From": entry.get("sender") or "+15005550006",
        "MessageSid": entry["sid"],
        "MessageStatus": status,
        "SmsSid": entry["sid"],
        "SmsStatus": status,
        "To": entry["to"],
    }
    if service := entry.get("messaging_service_sid"):
        fields["MessagingServiceSid"] = service
    return fields | ({"ErrorCode": str(error_code)} if error_code else {})


def signed(url: str, fields: dict[str, str]) -> dict[str, str]:
    """Give the header by which the receiver knows Twilio."""
    return {"X-Twilio-Signature": RequestValidator(AUTH_TOKEN).compute_signature(url, fields)}


class Callbacks:
    """Report to whoever sent a message what became of it.

    ``statuses`` are reported by themselves after each message that was accepted, with ``error_code`` for the last one.
    """

    def __init__(self) -> None:
        self.statuses: tuple[str, ...] = ()
        self.error_code: int | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Give the door by which a demo sets the statuses: ``{"statuses": ["sent", "delivered"]}``."""
        return [web.post("/callbacks", self.set)]

    async def set(self, request: web.Request) -> web.Response:
        """Set which statuses are reported by themselves."""
        wanted = await request.json()
        self.statuses, self.error_code = tuple(wanted.get("statuses", ())), wanted.get("error_code")
        return web.json_response(wanted)

    def accepted(self, entry: Entry) -> None:
        """Begin to report on a message, if that is wanted and it says where to."""
        if self.statuses and entry.get("status_callback"):
            task = asyncio.get_running_loop().create_task(self._all(entry, self.statuses))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _all(self, entry: Entry, statuses: Iterable[str]) -> None:
        for status in statuses:
            with suppress(ClientError, TimeoutError):
                await self.report(entry, status, self.error_code if status in ("failed", "undelivered") else None)

    async def report(self, entry: Entry, status: str, error_code: int | None = None) -> int:
        """Report one status now, and give the HTTP status of the answer."""
        url, fields = entry["status_callback"], form(entry, status, error_code)
        async with (
            ClientSession(timeout=LONGEST_WAIT) as session,
            session.post(url, data=fields, headers=signed(url, fields)) as answer,
        ):
            await answer.read()
            return answer.status
