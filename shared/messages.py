"""The contract: one message per job, and the queue it travels on. Only ids travel, never a code or an address."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import AliasChoices, AliasGenerator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .fields import EmailHint, Instant, PhoneHint, Priority, WallTime, Who, Why, hint
from .wall_time import instant, zone

__all__ = ["MAX_BODY_BYTES", "MESSAGES", "QUEUES", "Message", "Priority", "hint"]

MAX_BODY_BYTES = 64 * 1024


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
        if "queue" not in cls.__dict__:
            return  # fields that several messages share
        cls.name = re.sub(r"(?<=.)([A-Z])", r"_\1", cls.__name__).lower()
        MESSAGES[cls.name] = cls

    def due_at(self) -> datetime | None:
        """Say when the message itself asks to be run, in UTC; None means now."""
        return None


MESSAGES: dict[str, type[Message]] = {}


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


class Timed(Message):
    """What can be asked for a time: an instant, or a wall-clock time where the recipient lives."""

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

    def wished_for(self) -> datetime | None:
        """Say the instant that is meant, in UTC; None means now."""
        if self.deliver_local and self.deliver_tz:
            return instant(self.deliver_local, zone(self.deliver_tz))
        return self.deliver_at and self.deliver_at.astimezone(UTC)


class DeliverGiftCard(Timed):
    """Hand a card over to e-mail, SMS or both, now or at its time."""

    queue = "scheduled-delivery"

    gift_card_id: UUID
    method: Literal["email", "sms", "both"] = Field(validation_alias=AliasChoices("method", "deliveryMethod"))

    def due_at(self) -> datetime | None:
        """Say when the gift is meant to go out, in UTC; None means now."""
        return self.wished_for()


class ResendGiftCard(Message):
    """Send a gift once more to its present recipient, although it was sent or has failed."""

    queue = "scheduled-delivery"

    gift_card_id: UUID
    method: Literal["email", "sms"] = Field(default="email", validation_alias=AliasChoices("method", "deliveryMethod"))
    requested_by: Who
    reason: Why


class CancelDelivery(Message):
    """Take back every delivery of a card that has not been sent."""

    queue = "scheduled-delivery"

    gift_card_id: UUID
    requested_by: Who
    reason: Why


class RescheduleDelivery(Timed):
    """Move a card's delivery that has not begun; without a time, to now."""

    queue = "scheduled-delivery"

    gift_card_id: UUID
    requested_by: Who
    reason: Why


class CorrectRecipient(Message):
    """Follow a recipient that was corrected on the card: a gift that was sent already goes to the new one, too."""

    queue = "scheduled-delivery"

    gift_card_id: UUID
    recipient_version: int = Field(ge=2)
    requested_by: Who
    reason: Why


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


class CheckInvariants(Message):
    """Count what must never be, write the counts down, and tell upstream of cards whose ledger drifted."""

    queue = "maintenance"


QUEUES = tuple(dict.fromkeys(message.queue for message in MESSAGES.values()))
