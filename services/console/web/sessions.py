"""Signed cookies: who is signed in, the token of their forms, and one line to show on the next page."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from services.console.web import users
from shared.settings import settings

SAID_S = 60
TRY_S = 600


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser keeps for us: ``login`` is None before somebody signs in."""

    login: str | None = None
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    password: str = ""  # a fingerprint of its hash, or of the provider's settings
    role: str = ""  # of who came through a provider; it is that of the settings for all others

    @classmethod
    def of(cls, user: users.User) -> Session:
        """Begin a session: a token from before signing in is worth nothing in it."""
        return cls(user.login, password=users.fingerprint(user.login))

    @classmethod
    def through_provider(cls, user: users.User) -> Session:
        """Begin a session of somebody whom a provider vouches for."""
        return cls(user.login, password=users.fingerprint_of_provider(), role=user.role.name)

    def user(self) -> users.User | None:
        """Give who is signed in, as the settings have them now."""
        if self.login and self.role:
            known = users.fingerprint_of_provider()
            right = bool(known) and secrets.compare_digest(self.password, known)
            return users.User(self.login, users.Role[self.role]) if right else None
        if self.login is None or not secrets.compare_digest(self.password, users.fingerprint(self.login)):
            return None
        return users.find(self.login)


def read(request: Request) -> Session | None:
    """Give the session of a request; None without one, and when it is forged or too old."""
    try:
        kept = _signer("session").loads(request.cookies.get(_name("session"), ""), settings().console_session_s)
        return Session(**kept)
    except (BadSignature, TypeError):
        return None


def keep(response: Response, session: Session) -> None:
    """Have the browser keep a session."""
    _set(response, "session", asdict(session), settings().console_session_s)


def end(response: Response) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(_name("session"), path="/", secure=_secure(), httponly=True, samesite="lax")


def say(response: Response, line: str, *, wrong: bool = False) -> None:
    """Show a line on the next page that is opened."""
    _set(response, "said", {"line": line[:1000], "wrong": wrong}, SAID_S)


def said(request: Request) -> dict[str, object] | None:
    """Give the line that is to be shown now."""
    try:
        found: dict[str, object] = _signer("said").loads(request.cookies.get(_name("said"), ""), SAID_S)
        return found
    except BadSignature:
        return None


def unsay(response: Response) -> None:
    """Show a line once only."""
    response.delete_cookie(_name("said"), path="/", secure=_secure(), httponly=True, samesite="lax")


def begin_try(response: Response, value: object) -> None:
    """Keep what somebody needs who comes back from a provider, for ten minutes."""
    _set(response, "try", value, TRY_S)


def tried(request: Request) -> dict[str, Any]:
    """Give what was kept; nothing if nothing was, or too long ago."""
    try:
        found: dict[str, Any] = _signer("try").loads(request.cookies.get(_name("try"), ""), TRY_S)
        return found
    except BadSignature:
        return {}


def end_try(response: Response) -> None:
    """Have the browser forget it: each may come back once."""
    response.delete_cookie(_name("try"), path="/", secure=_secure(), httponly=True, samesite="lax")


def _set(response: Response, name: str, value: object, age_s: int) -> None:
    response.set_cookie(
        _name(name),
        _signer(name).dumps(value),
        max_age=age_s,
        path="/",
        secure=_secure(),
        httponly=True,
        samesite="lax",
    )


def _secure() -> bool:
    return urlsplit(settings().console_url).scheme == "https"


def _name(name: str) -> str:
    """Name a cookie: with this prefix, browsers take it from us alone, over TLS alone."""
    return f"__Host-console-{name}" if _secure() else f"console-{name}"


def _signer(what: str) -> URLSafeTimedSerializer:
    keys = [key.get_secret_value() for key in reversed(settings().console_keys)]  # the newest one signs
    return URLSafeTimedSerializer(keys, salt=f"giftcard-jobs console {what}")
