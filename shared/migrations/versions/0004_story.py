"""Find what providers said of a delivery without reading all they ever said."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the indexes."""
    op.execute("CREATE INDEX provider_events_delivery ON provider_events (delivery_id) WHERE delivery_id IS NOT NULL")
    op.execute("CREATE INDEX provider_events_message ON provider_events (provider_id) WHERE provider_id IS NOT NULL")
