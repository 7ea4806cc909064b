"""Let triggers do their part whoever changes a row, so that no role needs more than its own statements do."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the SQL beside this file; the roles themselves are made in grants.py, at each migration."""
    sql = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver reads a single % as a placeholder
