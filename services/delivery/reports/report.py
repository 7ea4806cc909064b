"""What a provider says of a message, in one form for all of them, and safe to keep: no address, no text of a person."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator

from services.delivery.providers import ErrorClass, classify_smtp
from shared import suppressions

LONGEST_WORD = 200
_MESSAGE_ID = re.compile(r"<?\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[^\s<>@]+", re.IGNORECASE)
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")


class Kind(StrEnum):
    """Say what happened to a message, or what its reader wants."""

    ACCEPTED = "accepted"  # the provider has it: queued, sending or sent on
    DEFERRED = "deferred"  # not yet, and the provider goes on trying
    DELIVERED = "delivered"
    FAILED = "failed"  # will not arrive, and the address is not to blame
    SOFT_BOUNCE = "soft_bounce"  # did not arrive: mailbox full, server away too long
    HARD_BOUNCE = "hard_bounce"  # no such address
    COMPLAINT = "complaint"  # arrived, and was called spam
    UNSUBSCRIBE = "unsubscribe"
    STOP = "stop"
    START = "start"
    HELP = "help"
    NOTHING = "nothing"  # opens, clicks, and whatever else is none of our business


@dataclass(frozen=True, slots=True)
class Report:
    """One fact from one provider.

    Parameters:
        event_id: the same each time the provider tells the same fact.
        address: the fingerprint of the recipient (for STOP: of who sent it).
        code: of Twilio, or an enhanced SMTP status such as 5.1.1.
        scopes: what STOP, START and unsubscribe are about, see `suppressions`.
        facts: what is kept of the body: allow-listed words only.
    """

    provider: str
    event_id: str
    kind: Kind
    delivery_id: UUID | None = None
    provider_id: str | None = None
    address: str | None = None
    code: str | None = None
    occurred_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def channel(self) -> str:
        """Say whether this is about ``sms`` or ``email``."""
        return "sms" if self.provider == "twilio" else "email"


def word(value: object, longest: int = LONGEST_WORD) -> str | None:
    """Give a short text that PostgreSQL can hold, or None for whatever is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    clean = value.encode("utf-8", "replace").decode().replace("\0", "").strip()
    return clean[:longest] or None


def moment(value: object) -> datetime | None:
    """Read a time in ISO 8601 or Unix seconds; None for whatever is none, or has no zone."""
    try:
        if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdecimal()):
            found = datetime.fromtimestamp(float(value), UTC)
        else:
            found = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo and 2000 <= found.year <= 2200 else None


Word = Annotated[str | None, BeforeValidator(word)]
Moment = Annotated[datetime | None, BeforeValidator(moment)]


def address(channel: str, value: object) -> str | None:
    """Give the fingerprint of an address, None when there is none."""
    written = word(value, 320)
    return suppressions.fingerprint(channel, written) if written else None


def delivery_named(message_id: object) -> UUID | None:
    """Find our delivery in a Message-ID that we made, see `email.message_id`."""
    found = _MESSAGE_ID.search(word(message_id, 998) or "")
    return UUID(found.group(1)) if found else None


def digest(*parts: object) -> str:
    """Make an event id for a provider that gives none: the same parts make the same id."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def enhanced(*texts: str | None) -> str | None:
    """Find the most telling enhanced status code (RFC 3463): the first that says more than x.0.0."""
    found = [code for text in texts if text for code in _ENHANCED.findall(text)]
    return next((code for code in found if not code.endswith(".0.0")), found[0] if found else None)


def bounced(status: str | None, *, permanent: bool) -> Kind:
    """Tell a hard bounce from a soft one, and from a refusal that is not about the address.

    Parameters:
        status: enhanced status code, which decides where there is one; the provider's own word is the fallback.
    """
    if status is None or status.endswith(".0.0"):
        return Kind.HARD_BOUNCE if permanent else Kind.SOFT_BOUNCE
    match classify_smtp(550, status):
        case ErrorClass.TRANSIENT:
            return Kind.SOFT_BOUNCE
        case ErrorClass.RECIPIENT:
            return Kind.HARD_BOUNCE
        case _:
            return Kind.FAILED
