"""The tables: as the models say, migrated by anybody at any time, with a ledger that refuses what does not add up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.types import TypeEngine

from deploy.local import database as databases
from deploy.local import state
from shared.messages import MESSAGES
from shared.models import Base
from tests import servers
from tests.kinds import Issue, Ledger, Sql

BOOK = """
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after, expiry_version,
                          idempotency_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def engine_of(url: str) -> Any:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))


def test_the_models_are_the_tables(database: str) -> None:
    def kind(column_type: TypeEngine[Any]) -> str:
        return column_type.compile(dialect=engine.dialect)

    engine = engine_of(database)
    found = inspect(engine)
    columns = {
        f"{table}.{column['name']}": (kind(column["type"]), column["nullable"])
        for table in found.get_table_names()
        if table != "alembic_version"
        for column in found.get_columns(table)
    }
    engine.dispose()

    described = {
        f"{table.name}.{column.name}": (kind(column.type), column.nullable)
        for table in Base.metadata.tables.values()
        for column in table.columns
    }
    precise = {name: ("DOUBLE PRECISION" if k == "FLOAT" else k, null) for name, (k, null) in described.items()}
    assert precise == columns


def test_what_the_models_leave_out_of_an_insert_has_a_default_or_a_trigger(database: str) -> None:
    engine = engine_of(database)
    found = inspect(engine)
    filled = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.server_default is not None
    }
    bare = {
        (table, column["name"])
        for table in found.get_table_names()
        for column in found.get_columns(table)
        if column["default"] is None and not column.get("identity")
    }
    engine.dispose()

    assert filled & bare == {("gift_cards", "expires_at")}  # its trigger derives it


def test_two_migrations_at_once_and_a_third_later_all_succeed() -> None:
    server, name = servers.database_server(), f"migrated_{uuid4().hex}"
    url = databases.create(server, name)
    try:
        pods = [migrating(url) for _ in range(2)]
        assert [pod.wait(60) for pod in pods] == [0, 0]
        assert migrating(url).wait(60) == 0

        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
            names = {row[0] for row in connection.execute("SELECT name FROM message_types")}
        assert names == set(MESSAGES)
    finally:
        databases.drop(server, name)


def test_the_migration_counts_what_was_told_before_it(database: str, sql: Sql) -> None:
    migration = (state.ROOT / "shared/migrations/versions/0009_told_in_order.sql").read_text()
    [count] = re.findall(r"^UPDATE events SET number.*?;\nINSERT INTO event_sequences.*?;$", migration, re.M | re.S)
    ada, bob = uuid4(), uuid4()
    for card, told in ((ada, True), (bob, True), (ada, True), (ada, False)):
        sql("INSERT INTO events (type, subject, published_at) SELECT 'x', %s, now() WHERE %s", card, told)
        sql("INSERT INTO events (type, subject) SELECT 'x', %s WHERE NOT %s", card, told)

    sql(count)

    numbers = sql("SELECT subject, number FROM events ORDER BY id")
    assert [(row["subject"], row["number"]) for row in numbers] == [(ada, 1), (bob, 1), (ada, 2), (ada, None)]
    assert {row["subject"]: row["last"] for row in sql("SELECT * FROM event_sequences")} == {ada: 2, bob: 1}


def migrating(url: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"JOBS_DATABASE_URL": url, "JOBS_RABBITMQ_URL": "amqp://not-needed"}
    return subprocess.Popen([sys.executable, "-m", "alembic", "upgrade", "head"], env=environment, cwd=state.ROOT)


def test_an_entry_that_continues_the_ledger_is_booked(card: Issue, sql: Sql, ledger: Ledger) -> None:
    card_id = card(balance="25.00")

    sql("UPDATE gift_cards SET balance = 20, ledger_sequence = 2 WHERE id = %s", card_id)
    sql(BOOK, card_id, 2, "REDEEM", "EUR", Decimal(-5), Decimal(25), Decimal(20), None, "r1")

    assert ledger(card_id, "REDEEM") == [Decimal(-5)]


@pytest.mark.parametrize(
    ("sequence", "currency", "amount", "before", "after"),
    [
        (3, "EUR", -5, 25, 20),  # a gap
        (1, "EUR", -5, 25, 20),  # a number that is taken
        (0, "EUR", -5, 25, 20),  # before the first
        (2, "USD", -5, 25, 20),  # another currency
        (2, "EUR", -5, 24, 19),  # does not continue
        (2, "EUR", -4, 25, 21),  # does not end at the card's balance
        (2, "EUR", -5, 25, 21),  # does not add up
        (2, "EUR", -26, 25, -1),  # below zero
    ],
)
def test_an_entry_that_does_not_fit_is_refused(
    card: Issue, sql: Sql, ledger: Ledger, sequence: int, currency: str, amount: int, before: int, after: int
) -> None:
    card_id = card(balance="25.00")
    sql("UPDATE gift_cards SET balance = 20, ledger_sequence = 2 WHERE id = %s", card_id)

    with pytest.raises(psycopg.IntegrityError):
        sql(BOOK, card_id, sequence, "REDEEM", currency, amount, before, after, None, "r1")

    assert ledger(card_id, "REDEEM") == []


def test_an_entry_for_a_balance_that_was_not_changed_is_refused(card: Issue, sql: Sql) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="update the card under lock first, then book"):
        sql(BOOK, card("25.00"), 2, "REDEEM", "EUR", -5, 25, 20, None, "r1")


def test_many_cards_are_booked_in_one_statement_or_not_at_all(card: Issue, sql: Sql, ledger: Ledger) -> None:
    ids = [card("25.00") for _ in range(3)]
    sql("UPDATE gift_cards SET balance = 20, ledger_sequence = 2 WHERE id = ANY(%s)", ids[:2])

    with pytest.raises(psycopg.errors.CheckViolation, match=str(ids[2])):
        sql(
            "INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
            " idempotency_key) SELECT id, 2, 'REDEEM', 'EUR', -5, 25, 20, 'r:' || id FROM unnest(%s::uuid[]) AS t (id)",
            ids,
        )

    assert [ledger(card_id, "REDEEM") for card_id in ids] == [[], [], []]


@pytest.mark.parametrize(
    "statement", ["UPDATE transactions SET amount = 1", "DELETE FROM transactions", "TRUNCATE transactions"]
)
def test_the_ledger_is_only_appended_to(card: Issue, sql: Sql, ledger: Ledger, statement: str) -> None:
    card_id = card("25.00")

    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only: book a correcting entry instead"):
        sql(statement)

    assert ledger(card_id, "ISSUE") == [Decimal(25)]


def test_a_card_expires_once_per_expiry_version(card: Issue, sql: Sql) -> None:
    card_id = card("25.00")
    expire(sql, card_id, 2, 1, 25)
    sql("UPDATE gift_cards SET balance = 10, ledger_sequence = 3 WHERE id = %s", card_id)
    sql(BOOK, card_id, 3, "REFUND", "EUR", 10, 0, 10, None, "refund")

    with pytest.raises(psycopg.errors.UniqueViolation):
        expire(sql, card_id, 4, 1, 10)

    expire(sql, card_id, 4, 2, 10)


def expire(sql: Sql, card_id: UUID, sequence: int, version: int, amount: int) -> None:
    sql(
        "WITH c AS (UPDATE gift_cards SET balance = 0, ledger_sequence = %s WHERE id = %s RETURNING id)"
        " INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
        " expiry_version, idempotency_key) SELECT id, %s, 'EXPIRY', 'EUR', %s, %s, 0, %s, %s FROM c",
        sequence,
        card_id,
        sequence,
        -amount,
        amount,
        version,
        f"expiry:{sequence}:{version}",
    )


def test_an_expiry_needs_a_version(card: Issue, sql: Sql) -> None:
    card_id = card("25.00")
    sql("UPDATE gift_cards SET balance = 0, ledger_sequence = 2 WHERE id = %s", card_id)

    with pytest.raises(psycopg.errors.CheckViolation):
        sql(BOOK, card_id, 2, "EXPIRY", "EUR", -25, 25, 0, None, "expiry")


def test_a_key_books_once(card: Issue, sql: Sql) -> None:
    first, second = card("25.00"), card("25.00")
    sql("UPDATE gift_cards SET balance = 20, ledger_sequence = 2")
    sql(BOOK, first, 2, "REDEEM", "EUR", -5, 25, 20, None, "same")

    with pytest.raises(psycopg.errors.UniqueViolation):
        sql(BOOK, second, 2, "REDEEM", "EUR", -5, 25, 20, None, "same")


def test_versions_grow_with_what_they_count(card: Issue, sql: Sql) -> None:
    card_id = card()

    def versions() -> tuple[int, int]:
        row = sql("SELECT expiry_version, recipient_version FROM gift_cards WHERE id = %s", card_id)[0]
        return row["expiry_version"], row["recipient_version"]

    assert versions() == (1, 1)
    sql("UPDATE gift_cards SET expires_on = expires_on + 30")
    assert versions() == (2, 1)
    sql("UPDATE gift_cards SET recipient_email = 'grace@example.com'")
    assert versions() == (2, 2)
    sql("UPDATE gift_cards SET recipient_email = 'grace@example.com', expires_on = expires_on, expiry_version = 9")
    assert versions() == (2, 2)
    sql("UPDATE gift_cards SET status = 'CANCELLED'")
    assert versions() == (2, 2)
