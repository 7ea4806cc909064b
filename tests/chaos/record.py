"""What the shop asked for, written down in the transaction that asked: the truth that the end is held against."""

from __future__ import annotations

TABLES = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.wishes (
    id uuid PRIMARY KEY, card_id uuid NOT NULL, story text NOT NULL, wants text[] NOT NULL DEFAULT '{}',
    email text, phone text, due_at timestamptz NOT NULL DEFAULT clock_timestamp(), phase text NOT NULL
);
CREATE TABLE chaos.changes (
    id uuid PRIMARY KEY, card_id uuid NOT NULL, what text NOT NULL, result text, email text, phone text,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON chaos.wishes (card_id);
CREATE INDEX ON chaos.changes (card_id);
CREATE TABLE chaos.tokens AS SELECT id FROM public.refresh_tokens WHERE false;
"""

WISH = """
INSERT INTO chaos.wishes (id, card_id, story, wants, email, phone, due_at, phase)
VALUES (%(id)s, %(card)s, %(story)s, %(wants)s, %(email)s, %(phone)s, coalesce(%(due_at)s, clock_timestamp()),
    %(phase)s)
"""

DONE = "SELECT id FROM chaos.wishes WHERE id = %s UNION SELECT id FROM chaos.changes WHERE id = %s"

LIVE = "INSERT INTO chaos.tokens SELECT id FROM refresh_tokens WHERE expires_at > clock_timestamp()"

# Written after the change took the card's lock, so whatever began before it has an earlier time.
CHANGE = """
INSERT INTO chaos.changes (id, card_id, what, result, email, phone) VALUES (%s, %s, %s, %s, %s, %s)
"""

# All at once: 6,000 cards, half for e-mail, a sixth for SMS, a third due to expire, with one job each at one instant.
BURST = """
WITH made AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(codes)s::text[], %(emails)s::text[], %(phones)s::text[],
        %(stories)s::text[]) AS t (id, code, email, phone, story)
), cards AS (
    INSERT INTO gift_cards (id, currency, balance, code_encrypted, code_last4, expires_on, recipient_email,
        recipient_phone, ledger_sequence)
    SELECT id, 'EUR', 25, code, 'WXYZ', current_date + CASE story WHEN 'expire' THEN -3 ELSE 300 END, email, phone, 1
    FROM made
), ledger AS (
    INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
        idempotency_key)
    SELECT id, 1, 'ISSUE', 'EUR', 25, 0, 25, 'issue:' || id FROM made
), wishes AS (
    INSERT INTO chaos.wishes (id, card_id, story, wants, email, phone, due_at, phase)
    SELECT gen_random_uuid(), id, 'burst ' || story, CASE story WHEN 'expire' THEN '{}' ELSE ARRAY[story] END, email,
        phone, %(at)s, 'burst' FROM made
)
SELECT count(CASE story
    WHEN 'expire' THEN enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', id), run_at => %(at)s)
    ELSE enqueue_job('deliver_gift_card', jsonb_build_object('gift_card_id', id, 'method', story, 'deliver_at', %(at)s))
    END) FROM made
"""
