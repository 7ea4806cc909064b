"""Count the soft bounces of a mailbox without reading all of what providers ever said."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the index."""
    op.execute(
        "CREATE INDEX provider_events_soft_bounces ON provider_events (address_hash, received_at)"
        " WHERE kind = 'soft_bounce'"
    )
