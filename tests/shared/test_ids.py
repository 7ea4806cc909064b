"""Ids of jobs: UUIDs of version 7, from Python and from the database, in the order of time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest

from shared.enqueue import enqueue
from shared.ids import uuid7
from shared.messages import PruneHistory
from shared.wire import Envelope
from tests.kinds import Sql


def from_sql(database: str) -> UUID:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT enqueue_job('prune_history')").fetchone()
    assert row
    return UUID(str(row[0]))


def from_python(database: str) -> UUID:
    with psycopg.connect(database) as connection:
        return enqueue(connection, PruneHistory())


def milliseconds(made: UUID) -> int:
    return made.int >> 80


@pytest.mark.parametrize("make", [from_sql, from_python])
def test_a_job_is_known_by_when_it_was_made(make: Callable[[str], UUID], database: str) -> None:
    before = time.time_ns() // 1_000_000

    made = make(database)

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= milliseconds(made) <= time.time_ns() // 1_000_000


def test_a_row_that_is_given_no_id_gets_one_in_order(sql: Sql) -> None:
    (row,) = sql("INSERT INTO jobs (name, queue, state) VALUES ('prune_history', 'maintenance', 'queued') RETURNING id")

    assert row["id"].version == 7


def test_what_is_made_later_sorts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for at_ms in (1, 1_800_000_000_000, 1_800_000_000_001, (1 << 48) - 1):
        monkeypatch.setattr(time, "time_ns", lambda at_ms=at_ms: at_ms * 1_000_000)
        made.append(Envelope(PruneHistory()).id)

    assert made == sorted(made)
    assert [milliseconds(one) for one in made] == [1, 1_800_000_000_000, 1_800_000_000_001, (1 << 48) - 1]


@pytest.mark.parametrize("bits", [0, (1 << 74) - 1, 1 << 62, (1 << 62) - 1])
def test_all_random_bits_are_kept(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.ids.secrets.randbits", lambda count: bits if count == 74 else None)

    made = uuid7()

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert (made.int >> 64 & 0xFFF) << 62 | made.int & (1 << 62) - 1 == bits
