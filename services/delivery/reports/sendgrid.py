"""SendGrid: its signed event webhook.

Sources: the pages "Event Webhook Reference" and "Getting Started with the Event Webhook Security Features".
"""

from __future__ import annotations

import base64
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import Field

from services.delivery.reports.incoming import Incoming, Lenient, Refused, parsed, secret
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

PROVIDER = "sendgrid"
LARGEST_BODY = 1024 * 1024  # one post may carry 768 kB of events
# SendGrid tries for a day. What is older was taken before or given up; what is newer is told apart by its event id.
REPLAY_S = 25 * 3600
EVENTS = {
    "processed": Kind.ACCEPTED,
    "deferred": Kind.DEFERRED,
    "delivered": Kind.DELIVERED,
    "spamreport": Kind.COMPLAINT,
    "unsubscribe": Kind.UNSUBSCRIBE,
    "group_unsubscribe": Kind.UNSUBSCRIBE,
}


class Event(Lenient):
    """One event of a post."""

    event: Word = None
    email: Word = None
    timestamp: Moment = None
    smtp_id: Word = Field(default=None, validation_alias="smtp-id")
    sg_event_id: Word = None
    sg_message_id: Word = None
    type: Word = None
    status: Word = None
    reason: Word = None
    response: Word = None


def reports(request: Incoming) -> list[Report]:
    """Read a post of events.

    Raises:
        Refused: it is not signed with our key, or was signed more than a day ago.
        Malformed: it is no list of events.
    """
    _check(request)
    return [_read(event) for event in parsed(list[Event], request.body)]


def _check(request: Incoming) -> None:
    stamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
    signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
    key = _key(secret(request.settings.sendgrid_public_key))
    try:
        key.verify(base64.b64decode(signature), stamp.encode() + request.body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        raise Refused("bad_signature") from None
    if not stamp.isdecimal() or abs(request.now - float(stamp[:12])) > REPLAY_S:
        raise Refused("stale")


def _key(text: str) -> EllipticCurvePublicKey:
    try:
        key = load_der_public_key(base64.b64decode(text))
    except ValueError:
        raise Refused("not_configured") from None
    if not isinstance(key, EllipticCurvePublicKey):
        raise Refused("not_configured")
    return key


def _read(event: Event) -> Report:
    status = enhanced(event.status, event.reason, event.response)
    fingerprint = address("email", event.email)
    return Report(
        provider=PROVIDER,
        event_id=event.sg_event_id or digest(event.event, event.sg_message_id, fingerprint, event.timestamp),
        kind=_kind(event, status),
        delivery_id=delivery_named(event.smtp_id),
        provider_id=_message(event.sg_message_id),
        address=fingerprint,
        code=status,
        occurred_at=event.timestamp,
        scopes=("reminders",),
        facts={"event": event.event, "type": event.type},
    )


def _kind(event: Event, status: str | None) -> Kind:
    if event.event == "bounce":
        # "blocked" is a refusal of this one message; SendGrid itself goes on sending to the address.
        return bounced(status, permanent=event.type != "blocked")
    if event.event == "dropped":
        known_bad = (event.reason or "").lower() in ("bounced address", "invalid")
        return Kind.HARD_BOUNCE if known_bad else Kind.FAILED
    return EVENTS.get(event.event or "", Kind.NOTHING)


def _message(sg_message_id: str | None) -> str | None:
    # The id that was given on acceptance is followed by the machines that worked on the message.
    return re.split(r"\.(?:filter|recv)", sg_message_id)[0] if sg_message_id else None
