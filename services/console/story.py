"""A card's story as rows: everything that happened, in order, and what is still to come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

from shared import db

# Parts that happen at the same instant are told in the order of ``step``.
PAST: LiteralString = """
WITH sent AS MATERIALIZED (
    SELECT *, kind || ' by ' || channel AS what FROM deliveries WHERE gift_card_id = %(card)s
), job AS MATERIALIZED (
    SELECT * FROM jobs WHERE gift_card_id = %(card)s
), hashes AS (
    SELECT address_hash FROM sent UNION SELECT unnest(%(hashes)s::text[])
)
SELECT * FROM (
    SELECT enqueued_at AS at, 1 AS step, 'job' AS kind, name AS what, 'asked for' AS did, NULL AS reason,
        jsonb_build_object('source', source, 'run_at', CASE WHEN run_at > enqueued_at + interval '1 second'
            AND started_at IS NULL THEN to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') END,
            'local', data ->> 'deliver_local', 'zone', data ->> 'deliver_tz') AS facts, id
    FROM job
    UNION ALL
    SELECT started_at, 4, 'job', name, CASE state WHEN 'running' THEN 'runs' ELSE 'tried' END, reason,
        jsonb_build_object('error', error, 'attempt', attempt, 'attempts', max_attempts), id
    FROM job WHERE started_at IS NOT NULL AND finished_at IS NULL
    UNION ALL
    SELECT finished_at, 6, 'job', name, state, reason,
        jsonb_build_object('error', error, 'attempt', attempt, 'attempts', max_attempts), id
    FROM job WHERE finished_at IS NOT NULL
    UNION ALL
    SELECT created_at, 2, 'delivery', what, 'made', NULL, jsonb_build_object('recipient_version', recipient_version,
        'expiry_version', expiry_version, 'days_before', days_before), id FROM sent
    UNION ALL
    SELECT (a ->> 'at')::timestamptz, 3, 'delivery', what, 'attempt ' || n, a ->> 'result',
        a || jsonb_build_object('locale', locale, 'segments', segments), id
    FROM sent, jsonb_array_elements(attempts) WITH ORDINALITY AS tried (a, n)
    UNION ALL
    SELECT CASE state WHEN 'sent' THEN coalesce(sent_at, updated_at) ELSE updated_at END, 5, 'delivery', what, state,
        reason, jsonb_build_object('error_class', error_class, 'error_code', error_code, 'settled_by', settled_by), id
    FROM sent WHERE state NOT IN ('scheduled', 'queued')
    UNION ALL
    SELECT coalesce(e.occurred_at, e.received_at), 7, 'report', s.what, e.kind, NULL, jsonb_build_object(
        'provider', e.provider, 'code', e.code, 'waits', e.applied_at IS NULL), s.id
    FROM sent s, LATERAL (
        SELECT * FROM provider_events WHERE delivery_id = s.id
        UNION SELECT * FROM provider_events WHERE provider_id = s.provider_id
            AND (provider = 'twilio') = (s.channel = 'sms')) e
    UNION ALL
    SELECT created_at, 0, 'suppression', channel || ' to ' || scope, 'suppressed', reason,
        jsonb_build_object('source', source), delivery_id
    FROM suppressions WHERE address_hash IN (SELECT * FROM hashes)
    UNION ALL
    SELECT lifted_at, 0, 'suppression', channel || ' to ' || scope, 'lifted', reason, '{}', delivery_id
    FROM suppressions WHERE address_hash IN (SELECT * FROM hashes) AND lifted_at IS NOT NULL
    UNION ALL
    SELECT created_at, 8, 'ledger', type, amount || ' ' || currency, NULL,
        jsonb_build_object('balance', balance_after || ' ' || currency), job_id
    FROM transactions WHERE gift_card_id = %(card)s
    UNION ALL
    SELECT at, 0, 'act', action, 'by ' || who, reason, details, NULL FROM audit WHERE subject = ANY (ARRAY(
        SELECT %(card)s::text UNION ALL SELECT id::text FROM job UNION ALL SELECT id::text FROM sent
        UNION ALL SELECT c || ':' || address_hash FROM hashes, unnest(ARRAY['email', 'sms']) c))
) story ORDER BY at, step, what
"""

AHEAD: LiteralString = """
SELECT greatest(run_at, clock_timestamp()) AS at, 'job' AS kind, name AS what, 'will' AS did, reason,
    jsonb_build_object('queue', queue, 'attempt', attempt, 'attempts', max_attempts, 'error', error,
        'local', data ->> 'deliver_local', 'zone', data ->> 'deliver_tz', 'not_after', not_after) AS facts, id
FROM jobs WHERE gift_card_id = %(card)s AND state IN ('scheduled', 'queued') ORDER BY run_at
"""

LAST4: LiteralString = """
SELECT id, status, currency, balance, expires_on, created_at FROM gift_cards WHERE code_last4 = %s
ORDER BY created_at DESC LIMIT 50
"""


def past(connection: db.Connection, card: UUID, hashes: Sequence[str]) -> list[dict[str, Any]]:
    """Give what happened to a card, in order.

    Parameters:
        hashes: fingerprints of its present recipient; those of former ones are in its deliveries.
    """
    return connection.execute(PAST, {"card": card, "hashes": list(hashes)}).fetchall()


def ahead(connection: db.Connection, card: UUID) -> list[dict[str, Any]]:
    """Give the jobs of a card that are still to run, in order."""
    return connection.execute(AHEAD, {"card": card}).fetchall()
