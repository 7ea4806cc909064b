"""The contract: one message per job, and the queue it travels on. Only ids travel, never a code or an address."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.alias_generators import to_camel

from shared.wall_time import instant, zone

MAX_BODY_BYTES = 64 * 1024


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


class Message(BaseModel):
    """One job to be done. Unknown fields are ignored; fields may be spelt in camelCase when read."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(name, to_camel(name))),
    )

    queue: ClassVar[str]
    name: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.name = re.sub(r"(?<=.)([A-Z])", r"_\1", cls.__name__).lower()
        MESSAGES[cls.name] = cls

    def due_at(self) -> datetime | None:
        """Say when the message itself asks to be run, in UTC; None means now."""
        return None


MESSAGES: dict[str, type[Message]] = {}


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
WallTime = Annotated[datetime, AfterValidator(_in_range)]


class ExpireGiftCard(Message):
    """Zero one card whose time has come, and book it."""

    queue = "gift-card-expiry"

    gift_card_id: UUID
    expiry_version: int | None = None


class ExpireDueGiftCards(Message):
    """Expire every card that is due, in slices."""

    queue = "gift-card-expiry"

    as_of: Instant | None = None


class SendExpiryReminder(Message):
    """Remind a card's owner before it expires, once per card, expiry version and offset."""

    queue = "expiry-reminders"

    gift_card_id: UUID
    recipient_email: EmailHint | None = None
    days_before: int = Field(default=7, ge=0, le=365)
    expiry_version: int | None = None


class PlanExpiryReminders(Message):
    """Plan the reminders that come due soon."""

    queue = "expiry-reminders"

    as_of: Instant | None = None


class DeliverGiftCard(Message):
    """Hand a card over to e-mail, SMS or both, now or at its time."""

    queue = "scheduled-delivery"

    gift_card_id: UUID
    method: Literal["email", "sms", "both"] = Field(validation_alias=AliasChoices("method", "deliveryMethod"))
    deliver_at: Instant | None = None
    deliver_local: WallTime | None = None
    deliver_tz: str | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.deliver_at and (self.deliver_local or self.deliver_tz):
            raise ValueError("give deliver_at, or deliver_local with deliver_tz, not both")
        if (self.deliver_local is None) != (self.deliver_tz is None):
            raise ValueError("deliver_local and deliver_tz go together: '2026-12-25T09:00' and 'Europe/Berlin'")
        if self.deliver_local and self.deliver_local.tzinfo:
            raise ValueError("deliver_local is a wall-clock time: leave its offset out, or use deliver_at")
        if self.deliver_tz:
            zone(self.deliver_tz)
        return self

    def due_at(self) -> datetime | None:
        """Say when the gift is meant to go out, in UTC; None means now."""
        if self.deliver_local and self.deliver_tz:
            return instant(self.deliver_local, zone(self.deliver_tz))
        return self.deliver_at and self.deliver_at.astimezone(UTC)


class SendGiftCardEmail(Message):
    """E-mail a card to its recipient, once per delivery."""

    queue = "email-delivery"

    gift_card_id: UUID
    recipient_email: EmailHint | None = None
    template_id: str = Field(default="gift_card", pattern=r"^[a-z0-9_]{1,64}$")
    delivery_id: UUID | None = None


class SendGiftCardSms(Message):
    """Text a card to its recipient, once per delivery."""

    queue = "sms-delivery"

    gift_card_id: UUID
    recipient_phone: PhoneHint | None = None
    delivery_id: UUID | None = None


class CleanupExpiredTokens(Message):
    """Delete refresh tokens that nobody can use any more, once per date."""

    queue = "cleanup-tokens"

    as_of: Instant | None = None


class PruneHistory(Message):
    """Delete finished jobs, failed jobs and events past their retention."""

    queue = "maintenance"

    as_of: Instant | None = None


QUEUES = tuple(dict.fromkeys(message.queue for message in MESSAGES.values()))
