"""Give new jobs ids in the order of time, so that the index of millions of them grows at its end."""

from alembic import op

revision = "0015"
down_revision = "0014"

# A UUID of version 7 (RFC 9562, 5.7): milliseconds in the first 48 bits, then version 4's random ones with two bits of
# its version set. PostgreSQL 18 has the same function of its own, which is found before this one.
UUIDV7 = """
CREATE FUNCTION uuidv7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1
    ), 52, 1), 53, 1), 'hex')::uuid
$$
"""
# The door as it stands, with another default: it can only be set together with all the rest.
DOOR = """
DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('enqueue_job'::regproc), 'gen_random_uuid()', 'uuidv7()');
END $$
"""


def upgrade() -> None:
    """Change what ids are given to jobs from now on; those that are there stay."""
    op.execute(UUIDV7)
    op.execute("ALTER TABLE jobs ALTER id SET DEFAULT uuidv7()")
    op.execute(DOOR)
