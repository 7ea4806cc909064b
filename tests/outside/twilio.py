"""Twilio's Messages API (2010-04-01): the true paths, fields, error codes and magic numbers, over a journal."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.outside.behaviour import Behaviour, Behaviours
from tests.outside.journal import Entry, Journal

ACCOUNT_SID = "AC" + "0a" * 16
API_KEY = "SK" + "0b" * 16
API_SECRET = "the-stand-in-knows-this"
MESSAGING_SERVICE_SID = "MG" + "0c" * 16
FROM_NUMBER = "+15005550006"

API = "/2010-04-01/Accounts/{account}/Messages"
# https://www.twilio.com/docs/iam/test-credentials#test-sms-messages
MAGIC_TO = {
    "+15005550001": (21211, "The 'To' number {to} is not a valid phone number."),
    "+15005550002": (21612, "The 'To' phone number {to} is not currently reachable using the 'From' phone number"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region of the 'To' number {to}."),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number {to} is not a valid mobile number"),
}
MAGIC_FROM = {
    "+15005550001": (21212, "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID."),
    "+15005550007": (21606, "The 'From' phone number is not a valid, SMS-capable inbound phone number."),
    "+15005550008": (21611, "This 'From' number has exceeded the maximum number of queued messages"),
}
Fault = tuple[int, str]


class Messages:
    """Serve the two resources Messages.json and Messages/{sid}.json.

    Parameters:
        accepted: called with each message that was accepted.
    """

    def __init__(
        self,
        journal: Journal,
        behaviours: Behaviours,
        stopping: asyncio.Event,
        accepted: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._behaviours = behaviours
        self._stopping = stopping
        self._accepted = accepted

    def routes(self) -> list[web.RouteDef]:
        """Give the routes for aiohttp."""
        return [
            web.post(API + ".json", self.create),
            web.get(API + ".json", self.list),
            web.get(API + "/{sid:SM[0-9a-f]{32}}.json", self.fetch),
            web.route("*", "/2010-04-01/{tail:.*}", self.unknown),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Accept an SMS, or answer as Twilio or a rule would."""
        if refusal := _unauthorized(request):
            return refusal
        form = {key: str(value) for key, value in (await request.post()).items()}
        rule = self._behaviours.pick("sms", "send", form.get("To"))
        fault = _fault(form)
        if rule is None and fault:
            return _error(400, fault[0], fault[1].format(to=form.get("To")))
        accepted = await self._accept(form) if rule is None or rule.accept else None
        if rule:
            return await self._misbehave(request, rule, form)
        return web.json_response(_resource(accepted or {}, fresh=True), status=201)

    async def _accept(self, form: dict[str, str]) -> Entry:
        entry = await asyncio.to_thread(
            self._journal.accept,
            "sms",
            sid="SM" + uuid4().hex,
            to=form["To"],
            sender=form.get("From"),
            messaging_service_sid=form.get("MessagingServiceSid"),
            subject=form["Body"][:60],
            body=form["Body"],
            status_callback=form.get("StatusCallback"),
        )
        self._accepted(entry)
        return entry

    async def _misbehave(self, request: web.Request, rule: Behaviour, form: dict[str, str]) -> web.StreamResponse:
        if rule.do == "refuse":
            return _error(rule.status, rule.code, rule.text, rule.retry_after_s)
        if rule.do == "lie":
            lie = {
                "sid": "SM" + uuid4().hex,
                "to": form["To"],
                "body": form["Body"],
                "at": datetime.now(UTC).isoformat(),
            }
            return web.json_response(_resource(lie, fresh=True), status=201)
        if rule.do == "hang":
            await self._stopping.wait()
        if request.transport:
            request.transport.abort()
        return web.Response()

    async def list(self, request: web.Request) -> web.Response:
        """List messages, newest first, filtered by To, From and DateSent."""
        if refusal := _unauthorized(request):
            return refusal
        query = request.query
        size, page = int(query.get("PageSize", 50)), int(query.get("Page", 0))
        found = [entry for entry in reversed(self._journal.entries("sms", query.get("To"))) if _matches(entry, query)]
        shown = found[page * size : (page + 1) * size]
        more = len(found) > (page + 1) * size
        return web.json_response(
            {
                "messages": [_resource(entry) for entry in shown],
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(len(shown) - 1, 0),
                "uri": str(request.rel_url),
                "first_page_uri": str(request.rel_url.update_query(Page=0)),
                "previous_page_uri": str(request.rel_url.update_query(Page=page - 1)) if page else None,
                "next_page_uri": str(request.rel_url.update_query(Page=page + 1)) if more else None,
            }
        )

    async def fetch(self, request: web.Request) -> web.Response:
        """Give one message, which has been delivered by now."""
        if refusal := _unauthorized(request):
            return refusal
        sid = request.match_info["sid"]
        entry = next((entry for entry in self._journal.entries("sms") if entry["sid"] == sid), None)
        return web.json_response(_resource(entry)) if entry else await self.unknown(request)

    async def unknown(self, request: web.Request) -> web.Response:
        """Answer for what is not there."""
        return _error(404, 20404, f"The requested resource {request.path} was not found")


def _unauthorized(request: web.Request) -> web.Response | None:
    wanted = base64.b64encode(f"{API_KEY}:{API_SECRET}".encode()).decode()
    if request.headers.get("Authorization") == f"Basic {wanted}" and request.match_info["account"] == ACCOUNT_SID:
        return None
    return _error(401, 20003, "Authenticate")


def _fault(form: dict[str, str]) -> Fault | None:
    to, sender, body = form.get("To", ""), form.get("From", ""), form.get("Body", "")
    if not to:
        return 21604, "A 'To' phone number is required."
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", to):
        return 21211, "The 'To' number {to} is not a valid phone number."
    if not sender and not form.get("MessagingServiceSid"):
        return 21603, "A 'From' phone number is required."
    if not body:
        return 21602, "Message body is required."
    if len(body) > 1600:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    return MAGIC_FROM.get(sender) or MAGIC_TO.get(to)


def _error(status: int, code: int, message: str, retry_after_s: int | None = None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.json_response(_error_body(status, code, message), status=status, headers=headers)


def _error_body(status: int, code: int, message: str) -> dict[str, Any]:
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": more_info, "status": status}


def _matches(entry: Entry, query: Any) -> bool:
    day = entry["at"][:10]
    return (
        query.get("From") in (None, entry["sender"])
        and query.get("DateSent>", day)[:10] <= day <= query.get("DateSent<", day)[:10]
        and query.get("DateSent", day)[:10] == day
    )


def _resource(entry: Entry, *, fresh: bool = False) -> dict[str, Any]:
    sid, at = entry["sid"], format_datetime(datetime.fromisoformat(entry["at"]))
    service = entry.get("messaging_service_sid")
    uri = f"{API.format(account=ACCOUNT_SID)}/{sid}"
    return {
        "account_sid": ACCOUNT_SID,
        "api_version": "2010-04-01",
        "body": entry["body"],
        "date_created": at,
        "date_sent": None if fresh else at,
        "date_updated": at,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": entry.get("sender"),
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": "0" if service and fresh else "1",
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": ("accepted" if service else "queued") if fresh else "delivered",
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": entry["to"],
        "uri": f"{uri}.json",
    }
