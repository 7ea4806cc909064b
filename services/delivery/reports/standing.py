"""How a delivery stands, and when a report changes that.

Reports come twice and in any order, so only the gravest counts: accepted < delivered < failed < soft bounce < hard
bounce; of two alike, the one with the higher code. A bounce after "delivered" is the truth: the first server took the
mail, and the mailbox behind it did not (RFC 3464). "Delivered" after a bounce is old news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from services.delivery import fallback
from services.delivery.providers import TWILIO, ErrorClass, classify_smtp
from services.delivery.reports.report import Kind, Report
from shared import db, facts

WORDS = {
    Kind.ACCEPTED: "sent",
    Kind.DEFERRED: "sent",
    Kind.DELIVERED: "delivered",
    Kind.COMPLAINT: "delivered",  # who complains has got it
    Kind.FAILED: "failed",
    Kind.SOFT_BOUNCE: "soft_bounce",
    Kind.HARD_BOUNCE: "hard_bounce",
}
RANK = {"sent": 1, "delivered": 2, "failed": 3, "soft_bounce": 4, "hard_bounce": 5}
UNKNOWN = ("sending", "unconfirmed")

BY_ID: LiteralString = "SELECT id, gift_card_id FROM deliveries WHERE id = %s AND channel = %s"
BY_PROVIDER_ID: LiteralString = "SELECT id, gift_card_id FROM deliveries WHERE provider_id = %s AND channel = %s"

# Locks in the order card, delivery, as sending does.
LOCK_CARD: LiteralString = "SELECT FROM gift_cards WHERE id = %s FOR SHARE"
LOCK: LiteralString = """
SELECT id, gift_card_id, kind, channel, recipient_version, state, reason, provider_id, error_code, address_hash,
    state = 'sending' AND EXISTS (
        SELECT FROM jobs j WHERE j.id = job_id AND j.state = 'running' AND j.lease_until > clock_timestamp()
    ) AS in_flight
FROM deliveries WHERE id = %s FOR UPDATE
"""

CHANGE: LiteralString = """
UPDATE deliveries d SET state = %(state)s, reason = %(reason)s, error_class = %(error_class)s, error_code = %(code)s,
    updated_at = clock_timestamp(), sent_at = coalesce(sent_at, clock_timestamp()),
    settled_by = CASE WHEN %(settles)s THEN 'callback' ELSE settled_by END,
    attempts = CASE WHEN %(settles)s AND attempts <> '[]'
        THEN jsonb_set(attempts, '{-1}', (attempts -> -1) || %(said)s) ELSE attempts END,
    provider_id = CASE WHEN provider_id IS NULL AND NOT EXISTS (
            SELECT FROM deliveries o WHERE o.channel = d.channel AND o.provider_id = %(provider_id)s)
        THEN %(provider_id)s ELSE provider_id END
WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a delivery stands, under lock. ``in_flight``: a worker is waiting for the provider's answer just now."""

    id: UUID
    gift_card_id: UUID
    kind: str
    channel: str
    recipient_version: int
    state: str
    reason: str | None
    provider_id: str | None
    error_code: str | None
    address_hash: str | None
    in_flight: bool

    @property
    def rank(self) -> tuple[int, str]:
        """Give what a report must exceed to change anything."""
        bounce = self.reason if self.reason in RANK else "hard_bounce"
        return RANK.get(bounce if self.state == "bounced" else self.state, 0), self.error_code or ""


def locked(connection: db.Connection, report: Report) -> Standing | None:
    """Lock the delivery that a report is about; None when none is known yet."""
    if report.delivery_id:
        found = connection.execute(BY_ID, (report.delivery_id, report.channel)).fetchone()
    else:
        found = connection.execute(BY_PROVIDER_ID, (report.provider_id, report.channel)).fetchone()
    if found is None:
        return None
    connection.execute(LOCK_CARD, (found["gift_card_id"],))
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(LOCK, (found["id"],)).fetchone()


def change(connection: db.Connection, report: Report, delivery: Standing) -> None:
    """Change a delivery that is not told anything graver yet: tell upstream, and let a lost gift go another way."""
    word, bad = WORDS[report.kind], RANK[WORDS[report.kind]] > RANK["delivered"]
    code = report.code if bad else None
    if not _counts(report, delivery, word, code):
        return
    settles = delivery.state in UNKNOWN
    said = {"result": "accepted", "provider_id": report.provider_id, "said": f"reported: {report.kind.value}"}
    given = {
        "id": delivery.id,
        "state": "bounced" if word.endswith("bounce") else word,
        "reason": word if bad else None,
        "error_class": _error_class(report) if bad else None,
        "code": code,
        "settles": settles,
        "provider_id": report.provider_id,
        "said": Jsonb(said),
    }
    connection.execute(CHANGE, given)
    if settles:
        facts.tell_of(connection, "delivery.sent", delivery.gift_card_id, delivery)
    if word == "delivered":
        facts.tell_of(connection, "delivery.delivered", delivery.gift_card_id, delivery)
    elif bad:
        fallback.gift_failed(connection, None, delivery.gift_card_id, delivery, word)


def _counts(report: Report, delivery: Standing, word: str, code: str | None) -> bool:
    foreign = None not in (report.provider_id, delivery.provider_id) and report.provider_id != delivery.provider_id
    if foreign and delivery.channel == "sms":
        # The delivery was sent twice, since nobody knew of the first: it arrived if one of the two did.
        return word == "delivered" and delivery.state != "delivered"
    if word == "sent" and delivery.provider_id and delivery.state not in UNKNOWN:
        return False  # about an attempt that is known already; a new one may have been asked for since
    return (RANK[word], code or "") > delivery.rank


def _error_class(report: Report) -> str:
    if report.kind is Kind.HARD_BOUNCE:
        return ErrorClass.RECIPIENT.value
    if report.kind is Kind.SOFT_BOUNCE:
        return ErrorClass.TRANSIENT.value
    if report.channel == "sms":
        code = int(report.code) if report.code and report.code.isdecimal() else 0
        return TWILIO.get(code, ErrorClass.TRANSIENT).value
    known = report.code if report.code and report.code[:2] in ("4.", "5.") else None
    return classify_smtp(550, known).value if known else ErrorClass.CONTENT.value
