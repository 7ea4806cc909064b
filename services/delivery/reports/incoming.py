"""A request as an adapter sees it, and the ways in which it can be no good."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from shared.settings import Settings, settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request. ``headers`` are found in any case; ``now`` is Unix time. Its repr shows nothing private."""

    path: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    query: str = field(default="", repr=False)
    settings: Settings = field(default_factory=settings, repr=False)
    now: float = field(default_factory=time.time)

    def public_url(self) -> str:
        """Give the URL that the provider asked for, which behind a proxy is not the one that we see."""
        base = (self.settings.webhook_url or "").rstrip("/")
        return f"{base}{self.path}" + (f"?{self.query}" if self.query else "")


class Refused(Exception):
    """Say that a request does not come from whom it should (403). The reason is a metric's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Malformed(Exception):
    """Say that an authentic body has another form than agreed (400), without repeating it."""


class Unavailable(Exception):
    """Say that something needed to check or confirm a request is away (503), so that the provider tries again."""


def secret(value: SecretStr | str | None) -> str:
    """Give a setting without which a route is shut. Raises Refused when it is not set."""
    found = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not found:
        raise Refused("not_configured")
    return found


def parsed(form: type[T], body: bytes | str) -> T:
    """Read a JSON body into a pydantic model, or anything else that pydantic takes as a type.

    Raises:
        Malformed: with the places that are wrong.
    """
    try:
        return TypeAdapter(form).validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)[:5]
        raise Malformed("; ".join(f"{_place(p['loc'])}: {p['type']}" for p in problems)) from None


def _place(location: tuple[int | str, ...]) -> str:
    # A key that is not ours could be anything, but pydantic only names fields that we know.
    return ".".join(map(str, location)) or "body"


class Lenient(BaseModel):
    """Read what is known of a provider's object and ignore the rest, since providers add fields."""
