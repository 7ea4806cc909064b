"""The HTTP client under Twilio's: to another address when told so, silent in logs, and never after the last moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from services.delivery import last_moment


class HttpClient(TwilioHttpClient):  # type: ignore[misc]  # the package has no types
    """Speak to another address than Twilio's when told so, and keep the headers of the last answer."""

    def __init__(self, base_url: str | None, timeout_s: float) -> None:
        super().__init__(timeout=timeout_s)
        self.session.mount("https://", _Adapter())
        self.session.mount("http://", _Adapter())
        self._base = urlsplit(base_url) if base_url else None
        self.headers: Mapping[str, str] = {}

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        """Make a request as Twilio's client does, at our address if there is one."""
        if self._base:
            there = urlsplit(url)
            path = self._base.path.rstrip("/") + there.path
            url = there._replace(scheme=self._base.scheme, netloc=self._base.netloc, path=path).geturl()
        self.headers = {}
        response = super().request(method, url, *args, **kwargs)
        self.headers = response.headers
        return response

    def log_request(self, kwargs: Mapping[str, Any]) -> None:
        """Log nothing: the body is a card's code."""

    def log_response(self, status_code: int, response: Any) -> None:
        """Log nothing: the answer repeats the body."""


class _Connection(HTTPConnection):
    def send(self, data: Any) -> None:
        last_moment.look()  # head and body come one after the other: without the body it is no request
        super().send(data)


class _SecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        last_moment.look()
        super().send(data)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
