"""Wait, before a service starts, for the tables that this code needs: ``python -m shared.revision``."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg

from shared import db, logs
from shared.settings import settings

VERSIONS = Path(__file__).parent / "migrations/versions"
ASK_EVERY_S = 1


def needed() -> str:
    """Give the newest revision that this code has; revisions are numbers of four digits, in order."""
    return max(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*.py"))


def reached() -> str:
    """Give the revision of the database; empty before the first migration, and while the database is away."""
    try:
        with db.connect(connect_timeout=5) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (psycopg.errors.UndefinedTable, *db.AWAY):
        return ""
    return row["version_num"] if row else ""


def main() -> None:
    """Return once the database is as new as this code, or newer: old code runs beside and after a new migration."""
    logs.configure(settings().log_level)
    while (found := reached()) < needed():
        logs.get().info("waiting_for_migration", needed=needed(), found=found)
        time.sleep(ASK_EVERY_S)
    logs.get().info("migrated", needed=needed(), found=found)


if __name__ == "__main__":
    main()
