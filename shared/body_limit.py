"""A cap on the body of a request, and on the time it takes to come: strangers may post, too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SLOWEST_S = 15.0


class TooLarge(Exception):
    """Say that a body is longer than its cap."""


class BodyLimit:
    """Read the body before the app does: 413 for too much, 408 for too slow.

    Parameters:
        usual: the cap in bytes.
        larger: other caps, by path.
    """

    def __init__(self, app: ASGIApp, usual: int, larger: Mapping[str, int]) -> None:
        self._app = app
        self._usual = usual
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(SLOWEST_S):
                body = await self._body(scope, receive)
        except TooLarge:
            await PlainTextResponse("too large\n", 413, {"Connection": "close"})(scope, receive, send)
        except TimeoutError:
            await PlainTextResponse("too slow\n", 408, {"Connection": "close"})(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        cap = self._larger.get(scope["path"], self._usual)
        told = Headers(scope=scope).get("Content-Length", "")
        if told.isdecimal() and int(told[:20]) > cap:
            raise TooLarge
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > cap:
                raise TooLarge
            more = message.get("more_body", False)
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def once() -> Message:
        return whole.pop() if whole else await receive()

    return once
