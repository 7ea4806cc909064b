-- What the last check_invariants counted (written by cleanup, exported by the schedulers).
CREATE TABLE invariant_checks (
    invariant text PRIMARY KEY,
    violations bigint NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    took_s double precision NOT NULL
);
