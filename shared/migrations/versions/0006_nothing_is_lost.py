"""Keep what the nightly check counted, and end the delivery of a job that ends without it."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the SQL beside this file."""
    sql = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver reads a single % as a placeholder
