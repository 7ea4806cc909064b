"""What expiry tests share: a card that is due to the second, and the shop's till, which can be made to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import pytest

import services.expiry.actors  # noqa: F401  # registers the actors
from tests.kinds import Eventually, Issue, Sql

Received: TypeAlias = Callable[..., UUID]
Till: TypeAlias = Callable[[UUID, str], AbstractContextManager[None]]

# No tick falls into a test: what runs is what the test asked for.
NO_TIMETABLE = (
    '{"cleanup_expired_tokens": {"cron": "0 0 29 2 *"}, "expire_due_gift_cards": {"cron": "0 0 29 2 *"},'
    ' "plan_expiry_reminders": {"cron": "0 0 29 2 *"}, "prune_history": {"cron": "0 0 29 2 *"},'
    ' "check_invariants": {"cron": "0 0 29 2 *"}}'
)


@pytest.fixture
def service() -> str:
    """Run as this service's own role."""
    return "expiry"


@pytest.fixture
def expires_in(sql: Sql) -> Callable[[UUID, str], None]:
    """Let a card expire to the second: ``expires_in(card_id, "1 second")``; its expiry version grows by one."""

    def change(card_id: UUID, interval: str) -> None:
        sql("UPDATE gift_cards SET expires_at = clock_timestamp() + %s::interval WHERE id = %s", interval, card_id)

    return change


@pytest.fixture
def till(database: str) -> Till:
    """Redeem an amount in a transaction that is open inside the block and commits at its end."""

    @contextmanager
    def redeem(card_id: UUID, amount: str) -> Iterator[None]:
        with psycopg.connect(database) as connection:
            connection.execute(
                "WITH c AS (UPDATE gift_cards SET balance = balance - %(amount)s,"
                " ledger_sequence = ledger_sequence + 1,"
                " status = CASE WHEN balance = %(amount)s THEN 'REDEEMED' ELSE status END"
                " WHERE id = %(id)s RETURNING *)"
                " INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before,"
                " balance_after, idempotency_key) SELECT id, ledger_sequence, 'REDEEM', currency, -%(amount)s,"
                " balance + %(amount)s, balance, 'redeem:' || id || ledger_sequence FROM c",
                {"id": card_id, "amount": Decimal(amount)},
            )
            yield

    return redeem


@pytest.fixture
def blocked(sql: Sql, eventually: Eventually) -> Callable[[int], None]:
    """Wait until so many sessions of this database wait for a lock."""
    waiting = (
        "SELECT count(*) AS n FROM pg_stat_activity"
        " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    return lambda sessions: eventually(lambda: sql(waiting)[0]["n"] >= sessions)


@pytest.fixture
def received(card: Issue, sql: Sql) -> Received:
    """Issue a card in five days of its end whose gift has reached its recipient."""

    def issue(gift: str = "sent", **fields: Any) -> UUID:
        card_id = card(**{"expires_on": date.today() + timedelta(days=5)} | fields)
        sql(
            "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state)"
            " VALUES (%s, %s, 'gift', 'email', 1, %s)",
            f"gift:{card_id}",
            card_id,
            gift,
        )
        return card_id

    return issue
