"""Give each service's role just what it needs, again at each migration."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, text

from shared.models import Base
from shared.privileges import GRANTS, OURS, role

# Roles belong to the whole cluster: another database's migration may make the same one at this moment.
CREATE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$
"""
EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"
FUNCTION = (
    "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND proname = :name"
)


def apply(connection: Connection) -> None:
    """Make the roles that are missing, take from all what they have here, and give what `shared.privileges` says.

    Where roles may not be made here, whoever may makes them, and the next migration gives them their privileges.
    """
    functions = {name: found for name in OURS if (found := connection.execute(text(FUNCTION), {"name": name}).scalar())}
    for function in functions.values():
        connection.execute(text(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
    connection.execute(text("GRANT SELECT ON alembic_version TO PUBLIC"))  # shared/revision.py waits for it
    missing = [name for service in GRANTS if not _made(connection, name := role(service))]
    for service, grants in GRANTS.items():
        if role(service) not in missing:
            _give(connection, role(service), grants, functions)
    if missing:
        logging.getLogger("alembic.runtime.migration").warning(
            "this user may not make roles, so there is no %s yet: let an administrator run 'CREATE ROLE … NOLOGIN' for"
            " each, then run 'alembic upgrade head' again; until then services run as the owner of the tables",
            ", ".join(missing),
        )


def _made(connection: Connection, name: str) -> bool:
    connection.execute(text(CREATE.format(role=name)))
    return bool(connection.execute(text(EXISTS), {"role": name}).scalar())


def _give(connection: Connection, name: str, grants: dict[str, str], functions: dict[str, str]) -> None:
    there = [table for table in Base.metadata.tables if _is_there(connection, table)]
    connection.execute(text(f"REVOKE ALL ON TABLE {', '.join(there)} FROM {name}"))
    connection.execute(text(f"REVOKE ALL ON FUNCTION {', '.join(functions.values())} FROM {name}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {name}"))
    for thing, privileges in grants.items():
        function = functions.get(thing.removesuffix("()"))
        if thing in there or function:
            connection.execute(text(f"GRANT {privileges} ON {f'FUNCTION {function}' if function else thing} TO {name}"))


def _is_there(connection: Connection, table: str) -> bool:
    return bool(connection.execute(text("SELECT to_regclass(:name)"), {"name": f"public.{table}"}).scalar())
