-- What will fire on each day to come, as it was last counted (written by the console); as_of is NULL before the first
-- time. One row: counting a million jobs takes seconds, reading what was counted does not.
CREATE TABLE forecast (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    as_of timestamptz,
    took_s double precision,
    days jsonb NOT NULL DEFAULT '[]'
);
INSERT INTO forecast DEFAULT VALUES;

-- Worker processes that live: each says so itself, as often as it renews its leases (written by the workers).
CREATE TABLE workers (
    name text PRIMARY KEY,
    queues text[] NOT NULL,
    threads integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Search by reason, and by an error that many have. A job that succeeds at once has no entry in either.
CREATE INDEX IF NOT EXISTS jobs_reason ON jobs (reason, coalesce(finished_at, run_at), id)
    WHERE reason IS NOT NULL AND state NOT IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS jobs_retrying ON jobs (run_at, id) WHERE state = 'scheduled' AND error IS NOT NULL;

-- The latest of each state and channel, as a page of them wants it; in place of one that could only give the latest of all.
CREATE INDEX IF NOT EXISTS deliveries_latest ON deliveries (state, channel, updated_at);
DROP INDEX deliveries_updated;
