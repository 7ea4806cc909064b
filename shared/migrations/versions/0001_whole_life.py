"""Make the record, the cards with their ledger, the deliveries and the two doors' functions."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL beside this file: triggers and functions read best as SQL."""
    sql = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver reads a single % as a placeholder


def downgrade() -> None:
    """Refuse: a ledger is not dropped by a migration."""
    raise RuntimeError("0001 has no way back: restore a backup instead")
