-- Who bought the card is told, without the code, when the gift cannot be delivered; and a card whose gift reached nobody
-- does not expire until an operator says so (expiry_hold: unreached, then released). Extending it ends the hold.
ALTER TABLE gift_cards
    ADD COLUMN purchaser_email text,
    ADD COLUMN purchaser_locale text NOT NULL DEFAULT 'en',
    ADD COLUMN expiry_hold text CHECK (expiry_hold IN ('unreached', 'released'));
CREATE INDEX gift_cards_held ON gift_cards (currency, balance) WHERE expiry_hold = 'unreached';
DROP INDEX gift_cards_active_expires_at;
CREATE INDEX gift_cards_active_expires_at ON gift_cards (expires_at, id)
    WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached';

CREATE FUNCTION end_of_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.expiry_hold := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER gift_cards_zz_extended BEFORE UPDATE OF expires_on, expires_tz ON gift_cards FOR EACH ROW
    WHEN (OLD.expiry_hold IS NOT NULL AND (NEW.expires_on, NEW.expires_tz) IS DISTINCT FROM (OLD.expires_on, OLD.expires_tz))
    EXECUTE FUNCTION end_of_hold();

-- What exactly was sent: the template by its content, in which language, in how many SMS segments.
ALTER TABLE deliveries
    ADD COLUMN locale text,
    ADD COLUMN template_version text,
    ADD COLUMN segments integer,
    ADD COLUMN relay text,
    ADD COLUMN address_hash text, -- of the recipient at the last attempt, for caps and for reports that name no delivery
    ADD COLUMN settled_by text, -- how an unknown outcome became known: callback, asked, operator
    DROP CONSTRAINT deliveries_kind_check,
    ADD CONSTRAINT deliveries_kind_check CHECK (kind IN ('gift', 'reminder', 'notice'));

CREATE INDEX deliveries_address ON deliveries (channel, address_hash, sending_at) WHERE address_hash IS NOT NULL;
CREATE INDEX deliveries_sending ON deliveries (channel, sending_at) WHERE sending_at IS NOT NULL;

-- Lifted, not deleted: who was suppressed when, and why, stays known.
ALTER TABLE suppressions
    ADD COLUMN delivery_id uuid,
    ADD COLUMN source text,
    ADD COLUMN lifted_at timestamptz,
    DROP CONSTRAINT suppressions_channel_address_hash_scope_key;
CREATE UNIQUE INDEX suppressions_active ON suppressions (channel, address_hash, scope) WHERE lifted_at IS NULL;

-- What a provider said of a delivery, in one form for all of them; an orphan waits until its delivery is known.
ALTER TABLE provider_events
    ADD COLUMN kind text NOT NULL DEFAULT 'unknown',
    ADD COLUMN delivery_id uuid,
    ADD COLUMN provider_id text,
    ADD COLUMN address_hash text,
    ADD COLUMN code text,
    ADD COLUMN occurred_at timestamptz;
CREATE INDEX provider_events_orphans ON provider_events (provider_id) WHERE applied_at IS NULL;

-- A provider that refuses us, not the recipient: nothing goes to it until a probe gets through (written by delivery).
CREATE TABLE breakers (
    provider text PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    code text,
    said text,
    probe_at timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 1,
    holds text -- the queue that waits, when none of its providers is left
);

-- A sweep that would expire too much stops here and asks (written by expiry, released by an operator).
CREATE TABLE brakes (
    name text PRIMARY KEY,
    pulled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    details jsonb NOT NULL,
    released_at timestamptz,
    released_by text,
    reason text
);

-- Who did what by hand, and why; written in the transaction of the deed, never changed.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL,
    action text NOT NULL,
    subject text,
    reason text NOT NULL CHECK (length(btrim(reason)) > 0),
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_subject ON audit (subject, at);
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Somebody who moves a job says a time of their own, so what the message wished for no longer counts.
CREATE OR REPLACE FUNCTION reschedule_job(id_or_key text, run_at timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF reschedule_job.run_at IS NULL OR NOT isfinite(reschedule_job.run_at) THEN
        RAISE EXCEPTION 'reschedule_job needs a time' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE jobs SET state = 'scheduled', run_at = reschedule_job.run_at,
        data = data - 'deliver_local' - 'deliver_tz' - 'deliver_at'
    WHERE id = job_of(id_or_key) AND state IN ('scheduled', 'queued');
    RETURN CASE WHEN FOUND THEN 'moved' ELSE 'too_late' END;
END $$;
