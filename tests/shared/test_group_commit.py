"""Threads that come while one transaction runs share the next one, and none of them suffers from another's fault."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from shared import actor, attempt, db, taking
from shared.group_commit import GroupCommit
from shared.jobs import Job, finish_all
from shared.messages import ExpireGiftCard, PruneHistory
from shared.wire import Envelope
from tests.kinds import Eventually, Sql


def take(deliveries: list[tuple[Envelope, bool]]) -> list[tuple[Job | None, str | None]]:
    with db.transaction() as connection:
        return taking.take(connection, deliveries)


def test_who_comes_meanwhile_is_served_together(database: str, eventually: Eventually) -> None:
    begun, goes_on, groups = threading.Event(), threading.Event(), list[list[int]]()

    def double(_: object, numbers: Sequence[int]) -> list[int]:
        groups.append(sorted(numbers))
        begun.set()
        assert goes_on.wait(20)
        return [2 * number for number in numbers]

    doubled = GroupCommit(double)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(doubled, 0)
        assert begun.wait(20)
        others = [threads.submit(doubled, number) for number in range(1, 9)]
        eventually(lambda: len(doubled._waiting) == 8)
        goes_on.set()

        assert [first.result(20), *(other.result(20) for other in others)] == list(range(0, 18, 2))
    assert groups == [[0], list(range(1, 9))]


def test_a_fault_of_one_is_nobody_elses(database: str, eventually: Eventually) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def invert(_: object, numbers: Sequence[int]) -> list[float]:
        begun.set()
        assert goes_on.wait(20)
        return [1 / number for number in numbers]

    inverse = GroupCommit(invert)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(inverse, 1)
        assert begun.wait(20)
        zero, two, four = (threads.submit(inverse, number) for number in (0, 2, 4))
        eventually(lambda: len(inverse._waiting) == 3)
        goes_on.set()

        assert (first.result(20), two.result(20), four.result(20)) == (1, 0.5, 0.25)
        with pytest.raises(ZeroDivisionError):
            zero.result(20)


def test_a_job_that_is_locked_by_somebody_holds_up_none_that_came_with_it(database: str, sql: Sql) -> None:
    locked, free = (Envelope(ExpireGiftCard(gift_card_id=UUID(int=n))) for n in (1, 2))
    for envelope in (locked, free):
        sql(
            "INSERT INTO jobs (id, name, queue, data, state) VALUES (%s, 'expire_gift_card', 'gift-card-expiry',"
            " '{}', 'queued')",
            envelope.id,
        )

    with psycopg.connect(database) as other, ThreadPoolExecutor(1) as threads:
        other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (locked.id,))
        waiting = threads.submit(actor._claim, locked, False)
        job = actor._claim(free, False)

        assert job is not None
        assert job.state == "running"
        assert not waiting.done()
        other.rollback()
        assert waiting.result(20) is not None


def test_of_runs_that_end_together_only_those_end_that_still_may(database: str, sql: Sql) -> None:
    taken = take([(Envelope(PruneHistory()), False) for _ in range(3)])
    ends, cancelled, stale = (job for job, _ in taken if job)
    sql("UPDATE jobs SET cancel_requested = true WHERE id = %s", cancelled.id)
    sql("UPDATE jobs SET epoch = epoch + 1 WHERE id = %s", stale.id)

    with db.transaction() as connection:
        finished = finish_all(connection, [(job, "skipped", "nothing_due", None) for job in (ends, cancelled, stale)])

    assert finished == [True, False, False]

    assert sql("SELECT id, reason FROM jobs WHERE state = 'skipped'") == [{"id": ends.id, "reason": "nothing_due"}]


def test_a_run_that_somebody_cancelled_ends_as_cancelled_though_it_shares_the_commit(database: str, sql: Sql) -> None:
    ((job, _),) = take([(Envelope(PruneHistory()), False)])
    assert job
    sql("UPDATE jobs SET cancel_requested = true")

    assert attempt.run(job, lambda: None) == ("cancelled", "cancelled")

    assert sql("SELECT state FROM jobs") == [{"state": "cancelled"}]
