"""Keep what lies ahead as it was last counted, and which workers live; search jobs by reason, deliveries by state."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Run the SQL beside this file. On a large table, build its indexes before; see docs/operations.md."""
    sql = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver reads a single % as a placeholder
