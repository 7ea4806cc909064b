"""Clean up after the rows that wait, however long the history beside them is."""

from alembic import op

revision = "0014"
down_revision = "0013"

# The index of what waits (facts to be told, deliveries under way, cards that are due) is read every second, and keeps
# an entry of each row that has passed through it until the table is vacuumed. By default that is once a fifth of the
# table has changed: 2,000,000 entries to step over at 10,000,000 rows. Plans need statistics as fresh as that.
# Not for job_keys, which is only added to. No fillfactor: each of these updates changes an indexed column, so that none
# could stay on its page without new index entries. None of this locks out readers or writers.
OFTEN = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02"


def upgrade() -> None:
    """Set how often the tables whose rows pass through a waiting state are vacuumed and analyzed."""
    for table in ("events", "deliveries", "gift_cards", "provider_events"):
        op.execute(f"ALTER TABLE {table} SET ({OFTEN})")
    op.execute("ALTER TABLE jobs SET (autovacuum_analyze_scale_factor = 0.02)")
