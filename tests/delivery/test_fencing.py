"""The fencing matrix: what happened to the card before its job ran, by what the job would have done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

import services.delivery.actors
import services.expiry.actors  # noqa: F401  # both register their actors
from shared import db, suppressions
from shared.messages import (
    DeliverGiftCard,
    ExpireGiftCard,
    SendExpiryReminder,
    SendGiftCardEmail,
    SendGiftCardSms,
    hint,
)
from shared.wire import Envelope
from tests.outside import Outside

Sql = Callable[..., list[dict[str, Any]]]
OLD, NEW = "old@example.com", "new@example.com"
JOBS = ["mail", "text", "reminder", "scheduled", "expire"]


@pytest.fixture
def service() -> None:
    """Run as the owner: more than one service's part is played here."""


def change(sql: Sql, card_id: UUID, what: str) -> None:
    """Let something happen to a card."""
    updates = {
        "redeemed": "status = 'REDEEMED'",
        "cancelled": "status = 'CANCELLED'",
        "pending": "status = 'PENDING'",
        "zero balance": "balance = 0, ledger_sequence = 2",
        "expired": "expires_on = current_date - 2, expiry_version = 1",
        "extended": "expires_on = current_date + 900",
        "recipient changed": f"recipient_email = '{NEW}', recipient_phone = '+14155550199'",
    }
    if what == "zero balance":
        sql(
            f"WITH c AS (UPDATE gift_cards SET {updates[what]} WHERE id = %s RETURNING *)"
            " INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
            " idempotency_key) SELECT id, 2, 'REDEEM', currency, -25, 25, 0, 'r:' || id FROM c",
            card_id,
        )
    elif what in updates:
        sql(f"UPDATE gift_cards SET {updates[what]} WHERE id = %s", card_id)
    elif what == "suppressed":
        with db.transaction() as connection:
            for channel, address in (("email", OLD), ("sms", "+14155550123")):
                suppressions.suppress(connection, channel, address, "hard_bounce")
    elif what == "opted out":
        with db.transaction() as connection:
            suppressions.suppress(connection, "email", OLD, "unsubscribe", scope=suppressions.REMINDERS)


def envelope(job: str, card_id: UUID, what: str) -> Envelope:
    """Ask for a job as upstream would have before the change; a moved one has its time in the future by now."""
    named = what == "recipient changed"
    message: Any = {
        "mail": SendGiftCardEmail(gift_card_id=card_id, recipient_email=hint(OLD) if named else None),
        "text": SendGiftCardSms(gift_card_id=card_id, recipient_phone=hint("+14155550123") if named else None),
        "reminder": SendExpiryReminder(
            gift_card_id=card_id, expiry_version=1, recipient_email=hint(OLD) if named else None
        ),
        "scheduled": DeliverGiftCard(gift_card_id=card_id, method="email"),
        "expire": ExpireGiftCard(gift_card_id=card_id, expiry_version=1),
    }[job]
    return Envelope(message, run_at=datetime.now(UTC) + timedelta(days=1) if what == "rescheduled" else None)


OVER = ["redeemed", "cancelled", "pending", "zero balance", "expired"]
MATRIX = {
    **{(what, job): ("skipped", what.replace(" ", "_"), 0) for what in OVER for job in JOBS[:4]},
    **{(what, "expire"): ("skipped", what, 0) for what in ("redeemed", "cancelled", "pending")},
    ("zero balance", "expire"): ("skipped", "not_due", 0),  # its day has not come; then it is booked as 0
    ("expired", "expire"): ("skipped", "extended", 0),  # another last day is another version
    ("expired", "reminder"): ("skipped", "extended", 0),
    ("extended", "mail"): ("succeeded", None, 1),
    ("extended", "text"): ("succeeded", None, 1),
    ("extended", "reminder"): ("skipped", "extended", 0),
    ("extended", "scheduled"): ("succeeded", None, 1),
    ("extended", "expire"): ("skipped", "extended", 0),
    ("recipient changed", "mail"): ("skipped", "recipient_changed", 0),
    ("recipient changed", "text"): ("skipped", "recipient_changed", 0),
    ("recipient changed", "reminder"): ("skipped", "recipient_changed", 0),
    ("recipient changed", "scheduled"): ("succeeded", None, 1),  # to the present recipient
    ("recipient changed", "expire"): ("skipped", "not_due", 0),
    **{("rescheduled", job): ("scheduled", None, 0) for job in JOBS},
    ("suppressed", "mail"): ("skipped", "suppressed", 0),
    ("suppressed", "text"): ("skipped", "suppressed", 0),
    ("suppressed", "reminder"): ("succeeded", None, 0),  # handed over; the send is skipped
    ("suppressed", "scheduled"): ("succeeded", None, 0),
    ("suppressed", "expire"): ("skipped", "not_due", 0),
    ("opted out", "mail"): ("succeeded", None, 1),  # a gift is not what was opted out of
    ("opted out", "text"): ("succeeded", None, 1),
    ("opted out", "reminder"): ("succeeded", None, 0),
    ("opted out", "scheduled"): ("succeeded", None, 1),
    ("opted out", "expire"): ("skipped", "not_due", 0),
}


@pytest.mark.parametrize(("what", "kind"), list(MATRIX), ids=lambda value: str(value))
def test_what_happened_first_decides_what_is_done(
    what: str,
    kind: str,
    card: Callable[..., UUID],
    deliver: Callable[..., list[UUID]],
    outside: Outside,
    sql: Sql,
    job: Callable[[UUID], dict[str, Any]],
) -> None:
    card_id = card(recipient_email=OLD)
    if kind == "reminder":  # only who got the gift is reminded of it
        sql(
            "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state)"
            " VALUES ('gift-before', %s, 'gift', 'sms', 1, 'sent')",
            card_id,
        )
    change(sql, card_id, what)
    asked = envelope(kind, card_id, what)

    deliver(asked)
    for row in sql("SELECT id, data FROM jobs WHERE name = 'send_gift_card_email' AND source <> 'giftcard-jobs'"):
        deliver(Envelope(SendGiftCardEmail.model_validate(row["data"]), id=row["id"]))

    state, reason, messages = MATRIX[what, kind]
    assert (job(asked.id)["state"], job(asked.id)["reason"]) == (state, reason)
    assert len(outside.messages()) == messages
    assert [m["to"] for m in outside.messages() if m["to"] in (OLD, NEW)] == [
        NEW if what == "recipient changed" else OLD for m in outside.messages("email")
    ]
    assert sql("SELECT FROM transactions WHERE type = 'EXPIRY'") == []


@pytest.mark.parametrize("what", ["nothing", "zero balance", "suppressed", "opted out", "recipient changed"])
def test_a_card_whose_day_has_come_expires_whatever_else_happened(
    what: str, card: Callable[..., UUID], deliver: Callable[..., list[UUID]], sql: Sql, outside: Outside
) -> None:
    card_id = card(recipient_email=OLD, expired=True)
    change(sql, card_id, what)

    deliver(ExpireGiftCard(gift_card_id=card_id))

    assert len(sql("SELECT FROM transactions WHERE type = 'EXPIRY' AND gift_card_id = %s", card_id)) == 1
