"""Keep how far the stream of copies is read, so that each message over AMQP gets a row."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Run the SQL beside this file."""
    sql = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver reads a single % as a placeholder
