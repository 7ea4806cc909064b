-- Times -------------------------------------------------------------------------------------------------------------

-- The UTC instant of a wall-clock time: a time in a gap moves forward, one that comes twice means the first.
CREATE FUNCTION wall_instant(wall timestamp, tz text) RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(min(u - d) FILTER (WHERE (u - d) AT TIME ZONE tz = wall), min(u))
    FROM (SELECT wall AT TIME ZONE tz AS u) AS standard,
         unnest(ARRAY[interval '0', interval '30 minutes', interval '1 hour', interval '2 hours']) AS d
$$;

-- Cards (written by the shop; the expiry service alone sets EXPIRED) ------------------------------------------------------

CREATE TABLE gift_cards (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('PENDING', 'ACTIVE', 'REDEEMED', 'EXPIRED', 'CANCELLED')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    balance numeric(19, 4) NOT NULL CHECK (balance >= 0),
    code_encrypted text NOT NULL,
    code_last4 text NOT NULL CHECK (length(code_last4) = 4),
    expires_on date NOT NULL,
    expires_tz text NOT NULL DEFAULT 'UTC',
    expires_at timestamptz NOT NULL,
    expiry_version integer NOT NULL DEFAULT 1,
    recipient_name text,
    recipient_email text,
    recipient_phone text,
    recipient_version integer NOT NULL DEFAULT 1,
    sender_name text,
    personal_message text CHECK (length(personal_message) <= 500),
    locale text NOT NULL DEFAULT 'en',
    time_zone text NOT NULL DEFAULT 'UTC',
    ledger_sequence integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX gift_cards_active_expires_at ON gift_cards (expires_at, id) WHERE status = 'ACTIVE';

-- Refuse a zone that is no place: PostgreSQL takes abbreviations and POSIX rules, too, and Python does not.
CREATE FUNCTION check_zone(tz text) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF tz !~ '^(UTC|GMT|[A-Z][a-z]+|[A-Za-z]+(/[A-Za-z0-9_+-]+)+)$' THEN
        RAISE EXCEPTION 'unknown time zone %: use an IANA name such as Europe/Berlin', quote_literal(tz)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM clock_timestamp() AT TIME ZONE tz;
END $$;

-- A card ends at the first instant after its last day, where it was sold. An unknown zone is refused here, not met later.
CREATE FUNCTION gift_card_derive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_zone(NEW.time_zone), check_zone(NEW.expires_tz);
    IF TG_OP = 'INSERT' OR (NEW.expires_on, NEW.expires_tz) IS DISTINCT FROM (OLD.expires_on, OLD.expires_tz) THEN
        NEW.expires_at := wall_instant((NEW.expires_on + 1)::timestamp, NEW.expires_tz);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        NEW.expiry_version := OLD.expiry_version + (NEW.expires_at IS DISTINCT FROM OLD.expires_at)::integer;
        NEW.recipient_version := OLD.recipient_version + ((NEW.recipient_email, NEW.recipient_phone)
            IS DISTINCT FROM (OLD.recipient_email, OLD.recipient_phone))::integer;
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER gift_cards_insert BEFORE INSERT ON gift_cards FOR EACH ROW EXECUTE FUNCTION gift_card_derive();
-- Not fired by a change of status or balance: the sweep stays fast.
CREATE TRIGGER gift_cards_update BEFORE UPDATE OF expires_on, expires_tz, time_zone, recipient_email,
    recipient_phone, expiry_version, recipient_version, expires_at ON gift_cards FOR EACH ROW EXECUTE FUNCTION gift_card_derive();

-- The ledger (appended to by the shop and the expiry service) -------------------------------------------------------------

CREATE TABLE transactions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gift_card_id uuid NOT NULL REFERENCES gift_cards,
    sequence integer NOT NULL CHECK (sequence > 0),
    type text NOT NULL CHECK (type IN ('ISSUE', 'REDEEM', 'REFUND', 'ADJUST', 'CANCEL', 'EXPIRY')),
    currency text NOT NULL,
    amount numeric(19, 4) NOT NULL,
    balance_before numeric(19, 4) NOT NULL,
    balance_after numeric(19, 4) NOT NULL CHECK (balance_after >= 0),
    expiry_version integer CHECK (type <> 'EXPIRY' OR expiry_version IS NOT NULL),
    idempotency_key text NOT NULL UNIQUE,
    job_id uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (gift_card_id, sequence),
    CONSTRAINT transactions_adds_up CHECK (balance_after = balance_before + amount)
);
CREATE UNIQUE INDEX transactions_one_expiry ON transactions (gift_card_id, expiry_version) WHERE type = 'EXPIRY';

-- Each entry continues the one before it, and the last one is the card's balance. Set-based, so a sweep stays fast.
CREATE FUNCTION ledger_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE broken uuid;
BEGIN
    SELECT n.gift_card_id INTO broken
    FROM added n
    JOIN gift_cards c ON c.id = n.gift_card_id
    LEFT JOIN transactions p ON p.gift_card_id = n.gift_card_id AND p.sequence = n.sequence - 1
    LEFT JOIN transactions s ON s.gift_card_id = n.gift_card_id AND s.sequence = n.sequence + 1
    WHERE n.balance_before <> coalesce(p.balance_after, 0)
       OR (p.id IS NULL AND n.sequence > 1)
       OR (s.id IS NULL AND (n.sequence, n.balance_after) IS DISTINCT FROM (c.ledger_sequence, c.balance))
       OR n.currency <> c.currency
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger of card % does not continue its last entry or does not end at its balance: '
            'update the card under lock first, then book', broken USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER transactions_check AFTER INSERT ON transactions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger_check();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: book a correcting entry instead', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The record of jobs (written by every service through shared/) -----------------------------------------------------------

-- What may be asked for; filled from shared/messages.py at each migration.
CREATE TABLE message_types (name text PRIMARY KEY, queue text NOT NULL, schema jsonb NOT NULL);

-- Keys stay for ever, longer than the jobs they name.
CREATE TABLE job_keys (
    dedupe_key text PRIMARY KEY CHECK (length(dedupe_key) <= 200),
    job_id uuid NOT NULL,
    name text NOT NULL,
    fingerprint text NOT NULL
);

CREATE TABLE jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    queue text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (state IN
        ('scheduled', 'queued', 'running', 'succeeded', 'skipped', 'failed', 'rejected', 'cancelled')),
    priority smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),
    run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    not_after timestamptz,
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer,
    stalls integer NOT NULL DEFAULT 0,
    publishes integer NOT NULL DEFAULT 0,
    epoch integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    dedupe_key text,
    gift_card_id uuid,
    reason text,
    error_type text,
    error text,
    source text,
    worker text,
    traceparent text,
    enqueued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02); -- a row is rewritten three times in its life
CREATE INDEX jobs_due ON jobs (queue, priority, run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_queued ON jobs (queue, priority, queued_at) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_finished ON jobs (queue, state, finished_at)
    WHERE state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled');
CREATE INDEX jobs_gift_card ON jobs (gift_card_id, enqueued_at) WHERE gift_card_id IS NOT NULL;

-- Wake the relays whenever a row may have become the next one due.
CREATE FUNCTION jobs_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('jobs_due', '');
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_due AFTER INSERT OR UPDATE ON jobs FOR EACH ROW
    WHEN (NEW.state = 'scheduled') EXECUTE FUNCTION jobs_notify();

-- The SQL door -----------------------------------------------------------------------------------------------------------

-- The data as it is kept: defaults filled in, nulls left out, and the fingerprint of an address instead of the address,
-- since it is only compared (see shared/messages.py, hint).
CREATE FUNCTION job_data(name text, data jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, CASE
        WHEN key IN ('recipient_email', 'recipient_phone') AND jsonb_typeof(value) = 'string' AND value #>> '{}' !~ '^sha256:[0-9a-f]{64}$'
        THEN to_jsonb('sha256:' || encode(sha256(convert_to(
            lower(btrim(value #>> '{}', E' \t\r\n') COLLATE "C"), 'UTF8')), 'hex'))
        ELSE value END) FILTER (WHERE jsonb_typeof(value) <> 'null'), '{}')
    FROM jsonb_each(data || (
        SELECT coalesce(jsonb_object_agg(p.key, p.value -> 'default') FILTER (WHERE p.value ? 'default' AND NOT data ? p.key), '{}')
        FROM message_types t, jsonb_each(t.schema -> 'properties') p WHERE t.name = job_data.name))
$$;

-- Give the job that a key names, making it this one if the key is new. The same key with other data is an error.
CREATE FUNCTION hold_key(key text, job uuid, name text, data jsonb) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE holder job_keys;
BEGIN
    INSERT INTO job_keys VALUES (key, job, name, md5(data::text)) ON CONFLICT DO NOTHING;
    SELECT * INTO holder FROM job_keys k WHERE k.dedupe_key = key;
    IF holder.job_id <> job AND (holder.name, holder.fingerprint) IS DISTINCT FROM (name, md5(data::text)) THEN
        RAISE EXCEPTION 'dedupe_key % is already used by another %: give this job a key of its own',
            quote_literal(key), holder.name USING ERRCODE = 'unique_violation';
    END IF;
    RETURN holder.job_id;
END $$;

CREATE FUNCTION check_job(name text, data jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE kind message_types; field text;
BEGIN
    SELECT * INTO kind FROM message_types t WHERE t.name = check_job.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no message is called %: use one of %', quote_literal(name),
            (SELECT string_agg(t.name, ', ' ORDER BY t.name) FROM message_types t) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(data) IS DISTINCT FROM 'object' OR length(data::text) > 60000 THEN
        RAISE EXCEPTION 'data of % must be a JSON object under 60 kB', name USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR field IN SELECT jsonb_array_elements_text(coalesce(kind.schema -> 'required', '[]')) LOOP
        IF NOT data ? field THEN
            RAISE EXCEPTION '% needs the field %', name, field USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF data ? 'gift_card_id' AND (data ->> 'gift_card_id') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        RAISE EXCEPTION 'gift_card_id of % must be a UUID', name USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN kind.queue;
END $$;

-- Ask for a job in your own transaction. A repeated key gives the id of the job that has it; with other data it is an error.
CREATE FUNCTION enqueue_job(
    name text, data jsonb DEFAULT '{}', run_at timestamptz DEFAULT NULL, priority text DEFAULT 'normal',
    dedupe_key text DEFAULT NULL, not_after timestamptz DEFAULT NULL, traceparent text DEFAULT NULL,
    source text DEFAULT 'sql', id uuid DEFAULT gen_random_uuid()
) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    queue_name text := check_job(enqueue_job.name, enqueue_job.data);
    clean jsonb := job_data(enqueue_job.name, enqueue_job.data);
    level smallint := array_position(ARRAY['urgent', 'normal', 'bulk'], enqueue_job.priority) - 1;
    due timestamptz := coalesce(enqueue_job.run_at, CASE WHEN enqueue_job.name = 'deliver_gift_card' THEN
        coalesce((clean ->> 'deliver_at')::timestamptz,
                 wall_instant((clean ->> 'deliver_local')::timestamp, clean ->> 'deliver_tz')) END, clock_timestamp());
    holder uuid;
BEGIN
    IF extract(year FROM due) NOT BETWEEN 2000 AND 2200 OR NOT isfinite(coalesce(enqueue_job.not_after, due)) THEN
        RAISE EXCEPTION 'the time of % lies outside the years 2000 to 2200', enqueue_job.name
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF level IS NULL THEN
        RAISE EXCEPTION 'priority % is not one of urgent, normal, bulk', quote_literal(enqueue_job.priority)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF enqueue_job.dedupe_key IS NOT NULL THEN
        holder := hold_key(enqueue_job.dedupe_key, enqueue_job.id, enqueue_job.name, clean);
        IF holder <> enqueue_job.id THEN
            RETURN holder;
        END IF;
    END IF;
    INSERT INTO jobs (id, name, queue, data, state, priority, run_at, not_after, dedupe_key, gift_card_id, source, traceparent)
    VALUES (
        enqueue_job.id, enqueue_job.name, queue_name, clean, 'scheduled', level,
        due, enqueue_job.not_after, enqueue_job.dedupe_key, (clean ->> 'gift_card_id')::uuid, enqueue_job.source, enqueue_job.traceparent
    ) ON CONFLICT DO NOTHING;
    RETURN enqueue_job.id;
END $$;

CREATE FUNCTION job_of(id_or_key text) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE job uuid;
BEGIN
    SELECT k.job_id INTO job FROM job_keys k WHERE k.dedupe_key = id_or_key;
    IF job IS NULL AND id_or_key ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        SELECT j.id INTO job FROM jobs j WHERE j.id = id_or_key::uuid;
    END IF;
    IF job IS NULL THEN
        RAISE EXCEPTION 'no job has the id or key %', quote_literal(id_or_key) USING ERRCODE = 'no_data_found';
    END IF;
    RETURN job;
END $$;

-- Cancel a job by id or key. Gives 'cancelled', 'cancelling' (it runs; it stops at its next step) or 'too_late'.
CREATE FUNCTION cancel_job(id_or_key text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE was text; job uuid := job_of(id_or_key);
BEGIN
    SELECT state INTO was FROM jobs WHERE id = job FOR UPDATE;
    IF was IN ('scheduled', 'queued') THEN
        UPDATE jobs SET state = 'cancelled', reason = 'cancelled', finished_at = clock_timestamp() WHERE id = job;
        RETURN 'cancelled';
    ELSIF was = 'running' THEN
        UPDATE jobs SET cancel_requested = true WHERE id = job;
        RETURN 'cancelling';
    END IF;
    RETURN 'too_late';
END $$;

-- Move a job that has not started. Gives 'moved' or 'too_late'.
CREATE FUNCTION reschedule_job(id_or_key text, run_at timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF reschedule_job.run_at IS NULL THEN
        RAISE EXCEPTION 'reschedule_job needs a time' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE jobs SET state = 'scheduled', run_at = reschedule_job.run_at
    WHERE id = job_of(id_or_key) AND state IN ('scheduled', 'queued');
    RETURN CASE WHEN FOUND THEN 'moved' ELSE 'too_late' END;
END $$;

-- Deliveries (written by the delivery service; the expiry service inserts reminders) ---------------------------------------

CREATE TABLE deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    dedupe_key text NOT NULL UNIQUE,
    gift_card_id uuid NOT NULL REFERENCES gift_cards,
    kind text NOT NULL CHECK (kind IN ('gift', 'reminder')),
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    template_id text NOT NULL DEFAULT 'gift_card',
    recipient_version integer NOT NULL,
    expiry_version integer,
    days_before integer,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'bounced',
        'failed', 'unconfirmed', 'suppressed', 'skipped', 'cancelled')),
    reason text,
    provider_id text,
    message_id text,
    attempts jsonb NOT NULL DEFAULT '[]',
    resends integer NOT NULL DEFAULT 0,
    error_class text,
    error_code text,
    job_id uuid,
    sending_at timestamptz,
    sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX deliveries_gift_card ON deliveries (gift_card_id, kind);
CREATE INDEX deliveries_open ON deliveries (state, updated_at) WHERE state IN ('sending', 'unconfirmed');
CREATE UNIQUE INDEX deliveries_provider_id ON deliveries (channel, provider_id) WHERE provider_id IS NOT NULL;

CREATE TABLE suppressions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    address_hash text NOT NULL,
    scope text NOT NULL DEFAULT 'all',
    reason text NOT NULL CHECK (reason IN ('hard_bounce', 'soft_bounces', 'complaint', 'stop', 'unsubscribe', 'manual')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (channel, address_hash, scope)
);

-- Inbox of webhooks (written by the delivery service).
CREATE TABLE provider_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    event_id text NOT NULL,
    body jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,
    UNIQUE (provider, event_id)
);

-- Outbox of facts for upstream (written by every service).
CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type text NOT NULL,
    subject uuid NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);
CREATE INDEX events_unpublished ON events (id) WHERE published_at IS NULL;

-- What operators set (console), and the limiter's next free slot (workers).
CREATE TABLE queue_controls (
    queue text PRIMARY KEY,
    paused_at timestamptz,
    paused_by text,
    pause_reason text,
    rate_per_s double precision CHECK (rate_per_s > 0),
    next_slot_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

-- How far each cron line has been fired (written by the scheduler).
CREATE TABLE schedules (name text PRIMARY KEY, last_tick timestamptz NOT NULL);

-- Sign-in tokens (written by the shop; the cleanup service deletes).
CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    parent_id uuid REFERENCES refresh_tokens ON DELETE SET NULL,
    token_hash text NOT NULL UNIQUE,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_parent ON refresh_tokens (parent_id) WHERE parent_id IS NOT NULL;
