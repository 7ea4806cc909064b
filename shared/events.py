"""The facts that leave for upstream: one frozen model per type, on the topic exchange ``giftcards.events``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

__all__ = ["EVENTS", "EXCHANGE", "Event", "EventEnvelope"]

EXCHANGE = "giftcards.events"
EVENTS: dict[str, type[Event]] = {}

Money = Annotated[str, Field(pattern=r"^-?\d+\.\d{1,4}$", description="Decimal number in major units.")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217.")]


class EventEnvelope(BaseModel):
    """A fact as it travels: a CloudEvents document. One that comes again has the same ``id`` and the same numbers."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = "giftcard-jobs"
    type: str
    subject: Annotated[UUID, Field(description="The card's id; of a job without a card, the job's.")]
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: Annotated[
        str, Field(pattern=r"^\d{20}$", description="Order of writing among all subjects, with gaps: tells none lost.")
    ]
    subjectsequence: Annotated[
        int, Field(ge=1, description="1, 2, 3 … for each subject, without gaps, in the order of telling.")
    ]
    data: dict[str, Any]


class Event(BaseModel):
    """What happened to a card; its id is the CloudEvents ``subject``. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if "type" in cls.__dict__:
            EVENTS[cls.type] = cls


class GiftCardExpired(Event):
    """A card expired, and what was left on it was booked."""

    type = "gift_card.expired"

    amount: Money
    currency: Currency


class GiftCardExpiryHeld(Event):
    """A card is due, and its gift reached nobody: it does not expire by itself."""

    type = "gift_card.expiry_held"


class GiftCardCodeRotationNeeded(Event):
    """A card's code went to somebody it was not meant for: give the card a new one."""

    type = "gift_card.code_rotation_needed"

    reason: str


class DeliveryEvent(Event):
    """What became of a delivery."""

    delivery_id: UUID
    kind: Literal["gift", "reminder", "notice"]
    channel: Literal["email", "sms"]
    reason: str | None = None


class DeliverySent(DeliveryEvent):
    """A provider accepted a message, which means that and nothing more; a reminder's ``kind`` is ``reminder``."""

    type = "delivery.sent"


class DeliveryDelivered(DeliveryEvent):
    """A provider says that a message arrived."""

    type = "delivery.delivered"


class DeliveryBounced(DeliveryEvent):
    """A message came back after it had been accepted."""

    type = "delivery.bounced"


class DeliveryFailed(DeliveryEvent):
    """A message cannot be sent as it is."""

    type = "delivery.failed"


class DeliveryUnknown(DeliveryEvent):
    """A provider did not say whether it took a message: it is being asked, and word follows."""

    type = "delivery.unknown"


class DeliveryHeld(DeliveryEvent):
    """Nobody can say whether a message arrived, so it waits for an operator."""

    type = "delivery.held"


class JobFailed(Event):
    """A job ended as failed, and an operator must look; the subject is its card's id, or its own if it has none."""

    type = "job.failed"

    job_id: UUID
    name: str
    queue: str
    reason: str


class RecipientSuppressed(Event):
    """The recipient of a card must not be written to any more, or not by this channel or for this kind."""

    type = "recipient.suppressed"

    channel: Literal["email", "sms"]
    scope: str
    reason: str


class LedgerDrift(Event):
    """A card's balance is not the sum of its ledger, or its entries do not continue each other."""

    type = "ledger.drift"

    violations: str
