-- Facts are counted per subject when they are about to be told, since one that is rolled back must leave no gap.
ALTER TABLE events ADD COLUMN number bigint;

-- How far each subject's facts are counted; kept longer than the facts (written by the scheduler).
CREATE TABLE event_sequences (subject uuid PRIMARY KEY, last bigint NOT NULL);

-- What was told so far is counted here; what a scheduler of before tells meanwhile, by one of now.
UPDATE events SET number = counted.nth
FROM (SELECT id, row_number() OVER (PARTITION BY subject ORDER BY id) AS nth FROM events WHERE published_at IS NOT NULL) counted
WHERE events.id = counted.id;
INSERT INTO event_sequences SELECT subject, max(number) FROM events WHERE number IS NOT NULL GROUP BY subject;

CREATE UNIQUE INDEX events_number ON events (subject, number) WHERE number IS NOT NULL;
CREATE INDEX events_uncounted ON events (id) WHERE number IS NULL;
CREATE INDEX events_to_tell ON events (id) WHERE published_at IS NULL AND number IS NOT NULL;
CREATE INDEX events_told ON events (published_at, id) WHERE published_at IS NOT NULL;

-- Say what a value had to be by its JSON Schema, or nothing if it fits. Knows the words that messages use; a test holds it
-- against the models.
CREATE FUNCTION json_misfit(given jsonb, rule jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    kind text := jsonb_typeof(given);
    plain text := given #>> '{}';
    wanted text := rule ->> 'type';
    branches text[];
BEGIN
    IF rule ? 'anyOf' THEN
        branches := ARRAY(SELECT json_misfit(given, branch) FROM jsonb_array_elements(rule -> 'anyOf') branch);
        RETURN CASE WHEN array_position(branches, NULL) IS NULL THEN array_to_string(branches, ' or ') END;
    END IF;
    IF rule ? 'enum' AND NOT rule -> 'enum' @> given THEN
        RETURN 'one of ' || (SELECT string_agg(choice, ', ') FROM jsonb_array_elements_text(rule -> 'enum') choice);
    END IF;
    IF rule ->> 'format' = 'uuid' AND (kind <> 'string' OR plain !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') THEN
        RETURN 'a UUID';
    END IF;
    IF rule ->> 'format' = 'date-time' AND NOT is_instant(given) THEN
        RETURN 'a time with its offset, such as 2026-12-25T09:00:00+01:00';
    END IF;
    IF wanted = 'integer' THEN
        RETURN CASE WHEN kind <> 'number' THEN 'an integer'
            WHEN given::numeric % 1 <> 0 THEN 'an integer'
            WHEN given::numeric < (rule ->> 'minimum')::numeric THEN 'at least ' || (rule ->> 'minimum')
            WHEN given::numeric > (rule ->> 'maximum')::numeric THEN 'at most ' || (rule ->> 'maximum') END;
    END IF;
    RETURN CASE WHEN kind <> wanted THEN CASE wanted WHEN 'null' THEN 'null' ELSE 'a ' || wanted END
        WHEN length(plain) > (rule ->> 'maxLength')::integer THEN format('at most %s characters', rule ->> 'maxLength')
        WHEN plain !~ (rule ->> 'pattern') THEN 'text like ' || (rule ->> 'pattern') END;
END $$;

-- RFC 3339, also without seconds; what else PostgreSQL takes for a time ('now', '25 Dec') is no instant to others.
CREATE FUNCTION is_instant(given jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_typeof(given) = 'string' AND (given #>> '{}')::timestamptz IS NOT NULL
        AND given #>> '{}' ~* '^\d{4}-\d{2}-\d{2}[t ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(z|[+-]\d{2}:?\d{2})$';
EXCEPTION WHEN data_exception THEN
    RETURN false;
END $$;

CREATE OR REPLACE FUNCTION check_job(name text, data jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE kind message_types; field text; wanted text;
BEGIN
    SELECT * INTO kind FROM message_types t WHERE t.name = check_job.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no message is called %: use one of %', quote_nullable(name),
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
    FOR field, wanted IN
        SELECT p.key, json_misfit(data -> p.key, p.value) FROM jsonb_each(kind.schema -> 'properties') p WHERE data ? p.key
    LOOP
        IF wanted IS NOT NULL THEN
            RAISE EXCEPTION '% of % must be %', field, name, wanted USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    RETURN kind.queue;
END $$;

-- As before, and what else travels with a message is held to the envelope's own rules.
CREATE OR REPLACE FUNCTION enqueue_job(
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
    wrong text := CASE
        WHEN extract(year FROM due) NOT BETWEEN 2000 AND 2200 OR NOT isfinite(coalesce(enqueue_job.not_after, due))
        THEN 'the time of ' || enqueue_job.name || ' lies outside the years 2000 to 2200'
        WHEN level IS NULL THEN 'priority ' || quote_nullable(enqueue_job.priority) || ' is not one of urgent, normal, bulk'
        WHEN length(enqueue_job.dedupe_key) NOT BETWEEN 1 AND 200 THEN 'a dedupe_key has 1 to 200 characters'
        WHEN length(enqueue_job.source) NOT BETWEEN 1 AND 200 THEN 'a source has 1 to 200 characters'
        WHEN enqueue_job.traceparent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
        THEN 'a traceparent looks like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01: W3C trace context'
    END;
    holder uuid;
BEGIN
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION '%', wrong USING ERRCODE = 'invalid_parameter_value';
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

CREATE OR REPLACE FUNCTION reschedule_job(id_or_key text, run_at timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF reschedule_job.run_at IS NULL OR extract(year FROM reschedule_job.run_at) NOT BETWEEN 2000 AND 2200 THEN
        RAISE EXCEPTION 'reschedule_job needs a time within the years 2000 to 2200' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE jobs SET state = 'scheduled', run_at = reschedule_job.run_at,
        data = data - 'deliver_local' - 'deliver_tz' - 'deliver_at'
    WHERE id = job_of(id_or_key) AND state IN ('scheduled', 'queued');
    RETURN CASE WHEN FOUND THEN 'moved' ELSE 'too_late' END;
END $$;

CREATE OR REPLACE FUNCTION job_of(id_or_key text) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE job uuid;
BEGIN
    SELECT k.job_id INTO job FROM job_keys k WHERE k.dedupe_key = id_or_key;
    IF job IS NULL AND id_or_key ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        SELECT j.id INTO job FROM jobs j WHERE j.id = id_or_key::uuid;
    END IF;
    IF job IS NULL THEN
        RAISE EXCEPTION 'no job has the id or key %', quote_nullable(id_or_key) USING ERRCODE = 'no_data_found';
    END IF;
    RETURN job;
END $$;
