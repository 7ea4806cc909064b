"""Run the migrations, one process at a time, fill in which messages there are, and give each service its rights."""

from __future__ import annotations

import json

from alembic import context
from sqlalchemy import Connection, create_engine, text

from shared.messages import MESSAGES
from shared.migrations import grants
from shared.models import Base
from shared.settings import settings

# Any number of pods may start at once: the second waits here and then finds nothing to do.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('giftcard-jobs migrations'))")


def migrate(connection: Connection) -> None:
    """Bring the database up to date in one transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        connection.execute(_LOCK)
        context.run_migrations()
        fill_message_types(connection)
        grants.apply(connection)


def fill_message_types(connection: Connection) -> None:
    """Tell the SQL door which messages there are and what they need."""
    if not connection.execute(text("SELECT to_regclass('message_types')")).scalar():
        return
    for message in MESSAGES.values():
        connection.execute(
            text(
                "INSERT INTO message_types VALUES (:name, :queue, CAST(:schema AS jsonb))"
                " ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, schema = excluded.schema"
            ),
            {
                "name": message.name,
                "queue": message.queue,
                "schema": json.dumps(message.model_json_schema(by_alias=False)),
            },
        )


url = context.config.attributes.get("url") or settings().database_url.get_secret_value()
engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
with engine.connect() as connection:
    migrate(connection)
engine.dispose()
