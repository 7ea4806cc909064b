"""Each role may do what its service does and nothing else: what is forbidden is tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from deploy.local import database as databases
from deploy.local import state
from shared.privileges import GRANTS, OURS, page, role
from tests import servers
from tests.kinds import Issue, Sql

SERVICES = list(GRANTS)
READ = "SELECT * FROM {}"
WRITE = {
    "transactions": "UPDATE transactions SET amount = 0",
    "gift_cards": "UPDATE gift_cards SET balance = 999",
    "jobs": "UPDATE jobs SET state = 'succeeded'",
    "deliveries": "UPDATE deliveries SET state = 'sent'",
    "audit": "UPDATE audit SET who = 'nobody'",
}
FORBIDDEN = [
    # The ledger: expiry appends to it, and nobody else but the shop touches it.
    *[(service, WRITE["transactions"]) for service in SERVICES],
    *[(service, "DELETE FROM transactions") for service in SERVICES],
    *[(service, "TRUNCATE transactions CASCADE") for service in SERVICES],
    *[(service, "INSERT INTO transactions (amount) VALUES (1)") for service in SERVICES if service != "expiry"],
    *[
        (service, READ.format("transactions"))
        for service in ("expiry", "delivery", "webhooks", "scheduler", "upstream")
    ],
    # Money, and what a card says.
    *[(service, WRITE["gift_cards"]) for service in SERVICES if service != "expiry"],
    ("expiry", "UPDATE gift_cards SET recipient_email = 'me@example.com'"),
    ("expiry", "UPDATE gift_cards SET code_encrypted = ''"),
    ("delivery", "UPDATE gift_cards SET status = 'ACTIVE'"),
    ("webhooks", "UPDATE gift_cards SET code_encrypted = ''"),
    *[(service, "INSERT INTO gift_cards DEFAULT VALUES") for service in SERVICES],
    *[(service, "DELETE FROM gift_cards") for service in SERVICES],
    # Codes and addresses.
    *[
        (service, "SELECT code_encrypted FROM gift_cards")
        for service in ("scheduler", "cleanup", "console", "upstream")
    ],
    *[(service, "SELECT recipient_email FROM gift_cards") for service in ("scheduler", "cleanup", "upstream")],
    *[(service, "SELECT token_hash FROM refresh_tokens") for service in SERVICES],
    *[(service, "DELETE FROM refresh_tokens") for service in SERVICES if service != "cleanup"],
    # The record.
    *[(service, "DELETE FROM jobs") for service in SERVICES if service != "cleanup"],
    *[(service, WRITE["jobs"]) for service in ("webhooks", "upstream")],
    *[(service, WRITE["deliveries"]) for service in ("expiry", "cleanup", "upstream")],
    ("scheduler", "UPDATE deliveries SET provider_id = 'x'"),
    *[(service, WRITE["audit"]) for service in SERVICES],
    *[(service, "DELETE FROM audit") for service in SERVICES],
    *[(service, "INSERT INTO message_types VALUES ('evil', 'q', '{}')") for service in SERVICES],
    *[(service, "UPDATE queue_controls SET paused_at = now()") for service in SERVICES if service != "console"],
    # The upstream's role: three functions.
    *[("upstream", READ.format(table)) for table in ("gift_cards", "jobs", "deliveries", "events", "job_keys")],
    ("upstream", "INSERT INTO jobs (name, queue, state) VALUES ('expire_gift_card', 'gift-card-expiry', 'scheduled')"),
    ("upstream", "SELECT hold_key('k', gen_random_uuid(), 'expire_gift_card', '{}')"),
    ("upstream", "SELECT job_of('k')"),
    *[(service, "SELECT cancel_job('k')") for service in ("expiry", "webhooks", "scheduler", "cleanup")],
    # The schema, and other roles.
    *[(service, "CREATE TABLE public.mine (a int)") for service in SERVICES],
    *[(service, "ALTER TABLE jobs DISABLE TRIGGER ALL") for service in SERVICES],
    *[(service, "SET ROLE giftcards_console") for service in SERVICES if service != "console"],
    *[(service, "CREATE ROLE mine") for service in SERVICES],
    *[(service, "COPY (SELECT 1) TO PROGRAM 'true'") for service in SERVICES],
]


GRANTED = """
SELECT grantee::regrole::text AS role, relname AS thing, privilege_type AS what
FROM pg_class, LATERAL aclexplode(relacl)
WHERE relnamespace = 'public'::regnamespace AND starts_with(grantee::regrole::text, 'giftcards_')
UNION ALL
SELECT grantee::regrole::text, relname, privilege_type || ' (' || string_agg(attname, ', ' ORDER BY attname) || ')'
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, LATERAL aclexplode(attacl)
WHERE starts_with(grantee::regrole::text, 'giftcards_') GROUP BY 1, 2, privilege_type
UNION ALL
SELECT grantee::regrole::text, proname || '()', privilege_type FROM pg_proc, LATERAL aclexplode(proacl)
WHERE pronamespace = 'public'::regnamespace AND starts_with(grantee::regrole::text, 'giftcards_')
"""


@contextmanager
def signed_in(database: str, service: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(servers.as_service(database, service), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def refuses() -> Iterator[Callable[[str, str], None]]:
    """Try a statement as a service's role, in one database for all: nothing of it may succeed."""
    with servers.fresh_database() as url:

        def tried(service: str, statement: str) -> None:
            with signed_in(url, service) as connection, pytest.raises(InsufficientPrivilege):
                connection.execute(statement.encode())

        yield tried


@pytest.mark.parametrize(("service", "statement"), FORBIDDEN)
def test_what_a_role_must_not_do_is_refused(refuses: Callable[[str, str], None], service: str, statement: str) -> None:
    refuses(service, statement)


def test_upstream_asks_moves_and_cancels_and_sees_nothing(card: Issue, database: str, sql: Sql) -> None:
    with signed_in(database, "upstream") as connection:
        ask = "SELECT enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', %s::text), dedupe_key => 'k')"
        connection.execute(ask, (str(card()),))
        moved = connection.execute("SELECT reschedule_job('k', '2199-01-01Z')").fetchone()
        cancelled = connection.execute("SELECT cancel_job('k')").fetchone()

    assert (moved, cancelled) == (("moved",), ("cancelled",))
    assert [row["state"] for row in sql("SELECT state FROM jobs")] == ["cancelled"]


def test_upstreams_own_tables_of_the_same_names_do_not_fool_the_door(card: Issue, database: str, sql: Sql) -> None:
    with signed_in(database, "upstream") as connection:
        connection.execute("CREATE TEMP TABLE jobs (LIKE pg_class)")
        connection.execute("SET search_path = pg_temp, public")
        ask = "SELECT public.enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', %s::text))"
        connection.execute(ask, (str(card()),))

    assert len(sql("SELECT FROM jobs")) == 1


def test_the_functions_with_their_owners_rights_have_a_fixed_search_path_and_are_nobodys_by_default(sql: Sql) -> None:
    rows = sql(
        "SELECT proname, proconfig, coalesce(proacl::text, 'anybody') AS acl FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND prosecdef"
    )

    assert {row["proname"] for row in rows} <= set(OURS)
    assert {tuple(row["proconfig"] or ()) for row in rows} == {("search_path=public, pg_temp",)}
    assert [row["proname"] for row in rows if re.search(r"[{,]=X", row["acl"]) or row["acl"] == "anybody"] == []


def test_the_table_of_rights_on_the_page_is_what_is_granted() -> None:
    assert page() in (state.ROOT / "docs/operations.md").read_text(), (
        "docs/operations.md shows other rights: paste what 'shared.privileges.page()' gives"
    )


def test_the_roles_have_in_the_database_what_is_written_down_and_nothing_more(sql: Sql) -> None:
    rows = sql(GRANTED)

    found = {(row["role"], row["thing"], row["what"]) for row in rows}
    written = {
        (role(service), thing, _ordered(what))
        for service, grants in GRANTS.items()
        for thing, privileges in grants.items()
        for what in re.findall(r"[A-Z]+(?: \([^)]*\))?", privileges)
    }
    assert found == written


def _ordered(privilege: str) -> str:
    kind, _, columns = privilege.partition(" (")
    return f"{kind} ({', '.join(sorted(columns.rstrip(')').split(', ')))})" if columns else kind


def test_a_user_who_may_not_make_roles_migrates_and_is_told_who_may(caplog: pytest.LogCaptureFixture) -> None:
    server, name = servers.database_server(), f"managed_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(Identifier(name)))
        try:
            url = databases.signed_in(databases.create(server, name), name, "x")
            connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(name), Identifier(name)))
            with pytest.MonkeyPatch.context() as monkeypatch:
                monkeypatch.setattr("shared.privileges.PREFIX", f"{name}_")  # roles that nobody has made yet
                databases.migrate(url)
                assert "may not make roles" in caplog.text
                connection.execute(SQL("CREATE ROLE {}").format(Identifier(f"{name}_upstream")))
                databases.migrate(url)
            with psycopg.connect(url) as own:
                may = "SELECT has_function_privilege(%s, 'cancel_job(text)', 'EXECUTE')"
                assert own.execute(may, (f"{name}_upstream",)).fetchone() == (True,)
        finally:
            databases.drop(server, name)
            connection.execute(SQL("DROP ROLE IF EXISTS {}, {}").format(*map(Identifier, (f"{name}_upstream", name))))
