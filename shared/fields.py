"""Kinds of fields that messages share: times, priorities, fingerprints of addresses, who asks and why."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, WithJsonSchema


class Priority(StrEnum):
    """How soon a job runs among its queue's jobs: urgent ones first, bulk ones while nothing else waits."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"

    @classmethod
    def _missing_(cls, value: object) -> Priority | None:
        """Take the seed's numbers too, higher first: from 10 urgent, from 5 (or none) normal, below 5 bulk."""
        if isinstance(value, str) and re.fullmatch(r"\d{1,4}", value, re.ASCII):  # an AMQP header is often text
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return cls.URGENT if value >= 10 else cls.NORMAL if value >= 5 or value == 0 else cls.BULK


_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")


def hint(address: str) -> str:
    """Give the fingerprint by which an address can be compared and is never shown: ``sha256:`` and 64 hex digits."""
    if _FINGERPRINT.fullmatch(address):
        return address
    # ASCII alone is trimmed and lowered, since PostgreSQL's job_data() must come to the same in every locale.
    return "sha256:" + hashlib.sha256(address.strip(" \t\r\n").encode().lower()).hexdigest()


def _email_hint(value: str) -> str:
    if not _FINGERPRINT.fullmatch(value) and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value.strip()):
        raise ValueError("is not an e-mail address: send the card's address, or leave the field out")
    return hint(value)


def _phone_hint(value: str) -> str:
    if not _FINGERPRINT.fullmatch(value) and not re.fullmatch(r"\+[1-9]\d{6,14}", value.strip()):
        raise ValueError("is not a phone number: use E.164 such as '+14155550123', or leave the field out")
    return hint(value)


# An address in a message is only compared with the card's, so its fingerprint travels and is kept instead.
EmailHint = Annotated[str, Field(max_length=320), AfterValidator(_email_hint)]
PhoneHint = Annotated[str, Field(max_length=320), AfterValidator(_phone_hint)]


def _in_range(value: datetime) -> datetime:
    """Keep to years in which every zone, Python and PostgreSQL can count."""
    if not 2000 <= value.year <= 2200:
        raise ValueError("lies outside the years 2000 to 2200")
    return value


Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
# JSON Schema's date-time has an offset, which a wall-clock time must not have.
WallTime = Annotated[
    datetime,
    AfterValidator(_in_range),
    WithJsonSchema({"type": "string", "description": "ISO 8601 without an offset, such as 2026-12-25T09:00."}),
]

_WHO = re.compile(r"^[\w.:-]{1,64}$")


def _who(value: str) -> str:
    if not _WHO.fullmatch(value):
        raise ValueError("is no login: 1 to 64 letters, digits, or _ . : -")
    return value


# Who asks and why goes to the audit trail; no address or number fits into either. Pydantic's own engine takes 28 ms to
# compile the first pattern, which every sender would wait for at import.
Who = Annotated[str, AfterValidator(_who), WithJsonSchema({"type": "string", "pattern": _WHO.pattern})]
Why = Annotated[str, Field(pattern=r"^[^@+\d][^@+]{1,199}$")]
