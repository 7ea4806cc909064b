"""What must hold of messages to people: I6, I8, I9 and I10."""

from __future__ import annotations

from shared.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "I6",
        "no delivery is accepted twice, or sent again more than once or without an unknown outcome before",
        "'console story CARD': look whether the person got it twice, and keep the provider's log: this is a bug",
        # An attempt that left no answer, or was told none, is unknown: what follows it is a resend, counted as one.
        """
        SELECT count(*) FROM deliveries d WHERE resends > 1 OR EXISTS (
            SELECT FROM (
                SELECT coalesce(tried ->> 'result', 'unknown') AS result, lead(tried) OVER (ORDER BY n) AS next
                FROM jsonb_array_elements(attempts) WITH ORDINALITY a (tried, n)) a
            WHERE (result = 'accepted' AND next IS NOT NULL)
                OR (result = 'unknown' AND next ->> 'resend' IS DISTINCT FROM 'true' AND next IS NOT NULL))
        """,
    ),
    Invariant(
        "I8",
        "nothing is lost: what was asked for was accepted, has a job that brings it, or an end with a reason",
        "'console deliveries' and 'console story CARD' say what is missing; 'console resend CARD' sends it",
        """
        SELECT (SELECT count(*) FROM deliveries d
            WHERE state IN ('scheduled', 'queued', 'sending') AND NOT EXISTS (
                SELECT FROM jobs j WHERE j.gift_card_id = d.gift_card_id
                    AND j.state IN ('scheduled', 'queued', 'running')
                    AND (j.id = d.job_id OR j.data ->> 'delivery_id' = d.id::text)))
        + (SELECT count(*) FROM deliveries WHERE reason IS NULL
            AND state IN ('failed', 'bounced', 'unconfirmed', 'suppressed', 'skipped', 'cancelled'))
        + (SELECT count(*) FROM jobs j WHERE name = 'deliver_gift_card' AND state = 'succeeded' AND NOT EXISTS (
            SELECT FROM deliveries d WHERE d.gift_card_id = j.gift_card_id AND kind = 'gift')) AS count
        """,
    ),
    Invariant(
        "I9",
        "nothing is sent to a replaced recipient, or after a cancel was committed",
        "'console story CARD' shows who got it: have the shop change the card's code. This is a bug",
        # A gift's key names the recipient it was made for. A cancel is about what was asked for before it.
        """
        SELECT (SELECT count(*) FROM deliveries WHERE sending_at IS NOT NULL AND kind = 'gift'
            AND dedupe_key LIKE 'gift:%%:r%%:%%' AND split_part(dedupe_key, ':', 3) <> 'r' || recipient_version)
        + (SELECT count(*) FROM audit a JOIN deliveries d ON d.gift_card_id::text = a.subject
            JOIN jobs j ON j.id = d.job_id
            WHERE a.action = 'cancel_delivery' AND d.kind = 'gift'
                AND j.enqueued_at < a.at AND d.sending_at > a.at) AS count
        """,
    ),
    Invariant(
        "I10",
        "nothing is sent before its time, and no reminder after its card expired",
        "look at the clock of the database server, and at who moved the job: 'console job ID'",
        """
        SELECT (SELECT count(*) FROM jobs WHERE started_at < run_at AND state = 'succeeded')
        + (SELECT count(*) FROM deliveries d JOIN gift_cards c ON c.id = d.gift_card_id
            WHERE d.kind = 'reminder' AND d.expiry_version = c.expiry_version AND d.sending_at > c.expires_at) AS count
        """,
    ),
)
