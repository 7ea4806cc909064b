"""Count failed logins where every replica of the console sees them, and show the latest deliveries of many."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make one small table, whose old rows go with the next failure, and an index."""
    op.execute("""
        CREATE TABLE login_attempts (
            key text PRIMARY KEY,
            failures bigint NOT NULL,
            last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            locked_until timestamptz
        );
        CREATE INDEX login_attempts_last_at ON login_attempts (last_at);
        CREATE INDEX deliveries_updated ON deliveries (updated_at);
    """)
