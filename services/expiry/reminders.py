"""Remind owners before a card expires: planned by offset, once per card, expiry version and offset."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

from shared.actor import Skipped
from shared.cards import Card, read, recipient_changed
from shared.enqueue import enqueue
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.messages import SendExpiryReminder, SendGiftCardEmail
from shared.settings import settings

# A reminder is planned for its hour where the owner lives: a day ahead, and up to three days late, so that a long
# weekend without us costs nobody a reminder. Of several that are late for one card only the nearest to its expiry
# remains, and none lies before the card itself. Ordered, so that two planners meet in order and not in a deadlock.
PLAN: LiteralString = """
WITH t AS (SELECT least(%(as_of)s, clock_timestamp()) AS now), planned AS MATERIALIZED (
    SELECT c.id, c.expiry_version, c.expires_at, c.created_at, d.days,
        wall_instant((c.expires_on - d.days)::timestamp + make_interval(hours => %(hour)s), c.time_zone) AS run_at
    FROM t, unnest(%(days)s::integer[]) AS d (days), gift_cards c
    WHERE c.status = 'ACTIVE' AND c.expiry_hold IS DISTINCT FROM 'unreached' -- as the index has it
        AND c.balance > 0 AND c.recipient_email IS NOT NULL
        AND c.expires_at BETWEEN t.now + make_interval(days => d.days - 4) AND t.now + make_interval(days => d.days + 3)
), timely AS (
    SELECT DISTINCT ON (id, CASE WHEN run_at > now THEN days END) planned.*
    FROM planned, t
    WHERE run_at BETWEEN greatest(created_at, now - interval '3 days') AND now + interval '1 day'
        AND run_at < expires_at AND expires_at > clock_timestamp()
    ORDER BY id, CASE WHEN run_at > now THEN days END, days
)
SELECT count(enqueue_job('send_expiry_reminder',
    jsonb_build_object('gift_card_id', id, 'days_before', days, 'expiry_version', expiry_version),
    run_at => run_at, not_after => expires_at, source => 'plan_expiry_reminders',
    dedupe_key => 'reminder:' || id || ':v' || expiry_version || ':d' || days)) AS planned
FROM (
    SELECT * FROM timely t WHERE NOT EXISTS (
        SELECT FROM job_keys k WHERE k.dedupe_key = 'reminder:' || t.id || ':v' || t.expiry_version || ':d' || t.days)
    ORDER BY run_at, id LIMIT %(rows)s
) slice
"""

HAND_OFF: LiteralString = """
INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, template_id, recipient_version, expiry_version,
                        days_before, job_id)
VALUES ('reminder:' || %(card)s || ':v' || %(version)s || ':d' || %(days)s, %(card)s, 'reminder', 'email',
        'expiry_reminder', %(recipient_version)s, %(version)s, %(days)s, %(job_id)s)
ON CONFLICT (dedupe_key) DO NOTHING RETURNING id
"""

GIFT_SENT: LiteralString = """
SELECT 1 FROM deliveries WHERE gift_card_id = %s AND kind = 'gift' AND state IN ('sent', 'delivered') LIMIT 1
"""


def plan(job: Job, as_of: datetime | None) -> Skipped | None:
    """Write down the reminders that come due within a day, slice by slice."""
    own = settings()
    given = {"days": list(own.reminder_days), "hour": own.reminder_hour, "rows": own.slice_rows, "as_of": as_of}
    total = 0
    while True:
        with job.step() as connection:
            # Planned for these days: not knowing them, PostgreSQL takes their window for most of the cards.
            row = connection.execute(PLAN, given, prepare=False).fetchone()
        if not row or not row["planned"]:
            return None if total else Skipped("nothing_due")
        total += row["planned"]
        failpoint("slice")


def remind(job: Job, message: SendExpiryReminder) -> Skipped | None:
    """Hand one reminder over to e-mail, if the card still deserves it.

    Raises:
        Rejected: there is no such card.
    """
    card = read(job.transaction, message.gift_card_id)
    if refusal := _refusal(job, message, card):
        return refusal
    fields = {
        "card": card.id,
        "version": card.expiry_version,
        "days": message.days_before,
        "recipient_version": card.recipient_version,
        "job_id": job.id,
    }
    row = job.transaction.execute(HAND_OFF, fields).fetchone()
    if row is None:
        return Skipped("already_reminded")
    failpoint("handing-off")
    send = SendGiftCardEmail(gift_card_id=card.id, template_id="expiry_reminder", delivery_id=row["id"])
    enqueue(job.transaction, send, dedupe_key=f"send:{row['id']}", not_after=card.expires_at, source=job.name)
    return None


def _refusal(job: Job, message: SendExpiryReminder, card: Card) -> Skipped | None:
    if message.expiry_version not in (None, card.expiry_version):
        return Skipped("extended", f"the card is at expiry version {card.expiry_version}, not {message.expiry_version}")
    if card.ended:
        return Skipped(card.ended, card.facts())
    if card.recipient_email is None:
        return Skipped("no_address")
    if recipient_changed(card, "email", message.recipient_email):
        return Skipped("recipient_changed")
    if job.transaction.execute(GIFT_SENT, (card.id,)).fetchone() is None:
        return Skipped("gift_not_sent", "nobody has received this card yet")
    return None
