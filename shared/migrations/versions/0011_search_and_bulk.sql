-- A trusted extension: whoever may create in the database may have it (PostgreSQL 13 and later).
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- A name's jobs by their time: when they ended, or are due. Not those under way: a row passes through these two states in
-- moments, they are few, and an entry for each would cost every job twice.
CREATE INDEX IF NOT EXISTS jobs_by_name ON jobs (name, state, coalesce(finished_at, run_at), id)
    WHERE state NOT IN ('queued', 'running');

-- Any part of an error's text. A skipped job has the inputs of its rule there, which is no error.
CREATE INDEX IF NOT EXISTS jobs_error ON jobs USING gin (error gin_trgm_ops)
    WHERE error IS NOT NULL AND state IN ('scheduled', 'queued', 'failed', 'rejected');

-- Looked at, and nothing more to be done: kept out of the list of failures, never deleted (written by the console).
ALTER TABLE jobs ADD COLUMN discarded_at timestamptz;

-- What an operator does to many jobs at once: what was searched, who confirmed it, how fast, how far (console).
CREATE TABLE bulk_actions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    act text NOT NULL CHECK (act IN ('retry', 'cancel', 'promote', 'move', 'discard')),
    run_at timestamptz,
    search jsonb NOT NULL,
    capped boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'running', 'aborted', 'done')),
    per_s integer NOT NULL CHECK (per_s BETWEEN 1 AND 1000),
    prepared_by text NOT NULL,
    prepared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by text,
    reason text,
    started_at timestamptz,
    next_at timestamptz,
    aborted_by text,
    ended_at timestamptz,
    CHECK ((act = 'move') = (run_at IS NOT NULL)),
    CHECK (state = 'prepared' OR state = 'aborted' OR (started_by, reason, next_at) IS NOT NULL)
);
CREATE INDEX bulk_actions_running ON bulk_actions (next_at) WHERE state = 'running';
CREATE INDEX bulk_actions_prepared_at ON bulk_actions (prepared_at);

-- Its jobs, fixed when they were shown: a refusal says why one is left alone, a result what came of it.
CREATE TABLE bulk_action_items (
    bulk_id uuid NOT NULL REFERENCES bulk_actions,
    job_id uuid NOT NULL,
    refusal text,
    result text,
    done_at timestamptz,
    PRIMARY KEY (bulk_id, job_id)
);
CREATE INDEX bulk_action_items_left ON bulk_action_items (bulk_id, job_id) WHERE refusal IS NULL AND result IS NULL;
