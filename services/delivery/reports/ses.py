"""Amazon SES: bounces, complaints and deliveries, in both formats (SNS notifications and event publishing).

Sources: the pages "Amazon SNS notification contents for Amazon SES" and "Contents of event data that Amazon SES
publishes to Amazon SNS".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pydantic import AliasChoices, Field

from services.delivery.reports import sns
from services.delivery.reports.incoming import Incoming, Lenient, Malformed, parsed
from services.delivery.reports.report import (
    Kind,
    Moment,
    Report,
    Word,
    address,
    bounced,
    delivery_named,
    digest,
    enhanced,
)

PROVIDER = "ses"
LARGEST_BODY = 300 * 1024  # SNS carries up to 256 kB
# SES took the message and found it too big or unfit: the address is not to blame.
CONTENT = {"ContentRejected", "AttachmentRejected", "MessageTooLarge"}


class Header(Lenient):
    """A header of the mail as we handed it over; SES sends it with a Message-ID of its own."""

    name: Word = None
    value: Word = None


class Mail(Lenient):
    """The mail that an event is about."""

    messageId: Word = None  # noqa: N815  # Amazon's names, here and below
    destination: list[Word] = []
    headers: list[Header] = []


class Person(Lenient):
    """A recipient that bounced or complained."""

    emailAddress: Word = None  # noqa: N815
    action: Word = None
    status: Word = None
    diagnosticCode: Word = None  # noqa: N815


class Details(Lenient):
    """What the objects bounce, complaint, delivery and deliveryDelay have in common or alone."""

    bounceType: Word = None  # noqa: N815
    bounceSubType: Word = None  # noqa: N815
    complaintFeedbackType: Word = None  # noqa: N815
    feedbackId: Word = None  # noqa: N815
    timestamp: Moment = None
    people: list[Person] = Field(
        default=[],
        validation_alias=AliasChoices("bouncedRecipients", "complainedRecipients", "delayedRecipients"),
    )
    recipients: list[Word] = []


class Event(Lenient):
    """One notification (``notificationType``) or published event (``eventType``)."""

    type: Word = Field(default=None, validation_alias=AliasChoices("eventType", "notificationType"))
    mail: Mail = Mail()
    details: Details = Field(
        default=Details(), validation_alias=AliasChoices("bounce", "complaint", "delivery", "deliveryDelay")
    )


PLAIN = {
    "Send": Kind.ACCEPTED,
    "Delivery": Kind.DELIVERED,
    "DeliveryDelay": Kind.DEFERRED,
    "Reject": Kind.FAILED,
    "Rendering Failure": Kind.FAILED,
}


def reports(request: Incoming, fetch: sns.Fetch = sns.fetch) -> list[Report]:
    """Read an SNS envelope; a subscription to a topic of ours is confirmed on the way.

    Raises:
        Refused, Unavailable: see `sns.check`.
        Malformed: it is no envelope of SNS, or the event in it is none of SES.
    """
    envelope = parsed(sns.Envelope, request.body)
    sns.check(envelope, request.settings.ses_topics, fetch)
    if envelope.Type == "SubscriptionConfirmation":
        sns.confirm(envelope, fetch)
    if envelope.Type != "Notification" or not envelope.Message.lstrip().startswith("{"):
        return []  # SES greets a new topic with a plain sentence
    return list(_read(parsed(Event, envelope.Message)))


def _read(event: Event) -> Iterator[Report]:
    mail, details = event.mail, event.details
    if not mail.messageId:
        raise Malformed("mail.messageId: missing")
    ours = next((h.value for h in mail.headers if (h.name or "").lower() == "message-id"), None)
    make = partial(
        Report,
        provider=PROVIDER,
        delivery_id=delivery_named(ours),
        provider_id=mail.messageId,
        occurred_at=details.timestamp,
    )
    told = [Person(emailAddress=recipient) for recipient in details.recipients or mail.destination]
    for person in details.people or told or [Person()]:
        status = enhanced(person.status, person.diagnosticCode)
        fingerprint = address("email", person.emailAddress)
        yield make(
            event_id=digest(event.type, details.feedbackId or mail.messageId, fingerprint, details.timestamp),
            kind=_kind(event, person, status),
            address=fingerprint,
            code=status or details.bounceSubType,
            facts=_facts(event, person),
        )


def _kind(event: Event, person: Person, status: str | None) -> Kind:
    details = event.details
    if event.type == "Bounce":
        return _bounce(details, person, status)
    if event.type == "Complaint":
        return Kind.NOTHING if details.complaintFeedbackType == "not-spam" else Kind.COMPLAINT
    return PLAIN.get(event.type or "", Kind.NOTHING)


def _bounce(details: Details, person: Person, status: str | None) -> Kind:
    if details.bounceSubType in CONTENT:
        return Kind.FAILED
    if details.bounceType == "Transient" and not (person.action or status):
        return Kind.NOTHING  # an out-of-office answer is reported as Transient/General without a status
    return bounced(status, permanent=details.bounceType == "Permanent")


def _facts(event: Event, person: Person) -> dict[str, str]:
    details = event.details
    said = {
        "type": event.type,
        "bounce_type": details.bounceType,
        "bounce_sub_type": details.bounceSubType,
        "feedback_type": details.complaintFeedbackType,
    }
    return {name: value for name, value in said.items() if value}
