"""Postmark: deliveries, bounces, complaints and changes of subscription.

Sources: the pages "Webhooks overview", "Bounce webhook", "Delivery webhook", "Spam complaint webhook", "Subscription
change webhook" and "Bounce types". Postmark does not sign: its posts carry a user and password, or a header, of our
choice.
"""

from __future__ import annotations

import base64
import hmac
from uuid import UUID

from services.delivery.reports.incoming import Incoming, Lenient, Refused, parsed, secret
from services.delivery.reports.report import Kind, Moment, Report, Word, address, bounced, digest, enhanced

PROVIDER = "postmark"
HEADER = "X-Webhook-Secret"
BOUNCES = {
    **dict.fromkeys(("HardBounce", "BadEmailAddress"), Kind.HARD_BOUNCE),
    **dict.fromkeys(("SoftBounce", "DnsError", "Undeliverable", "Unknown"), Kind.SOFT_BOUNCE),
    **dict.fromkeys(("SpamNotification", "Blocked", "DMARCPolicy", "VirusNotification"), Kind.FAILED),
    **dict.fromkeys(("SMTPApiError", "TemplateRenderingFailed", "ManuallyDeactivated"), Kind.FAILED),
    "Transient": Kind.DEFERRED,
    "SpamComplaint": Kind.COMPLAINT,
    "Unsubscribe": Kind.UNSUBSCRIBE,
}
REASONS = {
    "HardBounce": Kind.HARD_BOUNCE,
    "SpamComplaint": Kind.COMPLAINT,
    "ManualSuppression": Kind.UNSUBSCRIBE,
}


class Record(Lenient):
    """One post, of any record type. Mails carry our delivery's id in the header X-PM-Metadata-delivery_id."""

    RecordType: Word = None
    ID: Word = None
    Type: Word = None
    MessageID: Word = None
    Email: Word = None
    Recipient: Word = None
    Details: Word = None
    SuppressSending: bool = False
    SuppressionReason: Word = None
    BouncedAt: Moment = None
    DeliveredAt: Moment = None
    ChangedAt: Moment = None
    Metadata: dict[str, Word] | None = None


def reports(request: Incoming) -> list[Report]:
    """Read one post.

    Raises:
        Refused: it does not carry our credentials.
        Malformed: it is no record of Postmark.
    """
    _check(request)
    record = parsed(Record, request.body)
    fingerprint = address("email", record.Email or record.Recipient)
    at = record.BouncedAt or record.DeliveredAt or record.ChangedAt
    told = record.ID or digest(record.MessageID, fingerprint, at, record.SuppressionReason)
    status = enhanced(record.Details)
    return [
        Report(
            provider=PROVIDER,
            event_id=f"{record.RecordType}:{told}",
            kind=_kind(record, status),
            delivery_id=_delivery(record),
            provider_id=record.MessageID,
            address=fingerprint,
            code=status or record.Type,
            occurred_at=at,
            scopes=("reminders",),
            facts={"record": record.RecordType, "type": record.Type},
        )
    ]


def _check(request: Incoming) -> None:
    wanted = secret(request.settings.postmark_credentials).encode()
    basic = "Basic " + base64.b64encode(wanted).decode()
    given = request.headers.get("Authorization", ""), request.headers.get(HEADER, "")
    right = [hmac.compare_digest(g.encode(), w) for g, w in zip(given, (basic.encode(), wanted), strict=True)]
    if not any(right):
        raise Refused("bad_credentials")


def _kind(record: Record, status: str | None) -> Kind:
    match record.RecordType:
        case "Delivery":
            return Kind.DELIVERED
        case "SpamComplaint":
            return Kind.COMPLAINT
        case "Bounce":
            kind = BOUNCES.get(record.Type or "", Kind.NOTHING)
            return bounced(status, permanent=True) if kind is Kind.HARD_BOUNCE else kind
        case "SubscriptionChange" if record.SuppressSending:
            return REASONS.get(record.SuppressionReason or "", Kind.NOTHING)
        case _:
            return Kind.NOTHING


def _delivery(record: Record) -> UUID | None:
    try:
        return UUID((record.Metadata or {}).get("delivery_id") or "")
    except ValueError:
        return None
