"""A worker says that it lives, also while it has nothing to do, and takes its leave."""

from __future__ import annotations

import os
import signal
from typing import Any

from shared.jobs import worker_name
from shared.presence import Presence
from tests.kinds import Eventually, Sql, StartProcess

WORKERS = "SELECT name, queues, threads, seen_at > clock_timestamp() - interval '2 seconds' AS fresh FROM workers"
OLD = "UPDATE workers SET started_at = started_at - interval '2 hours', seen_at = seen_at - interval '{} minutes'"


def test_an_idle_worker_is_known_until_it_stops(
    process: StartProcess, rabbitmq: str, sql: Sql, eventually: Eventually
) -> None:
    from services.scheduler.relay import declare_queues

    declare_queues()

    child = process("expiry", JOBS_LEASE_S="1", JOBS_TIMETABLE__EXPIRE_DUE_GIFT_CARDS__CRON="0 0 29 2 mon")
    eventually(lambda: sql(WORKERS))
    [row] = sql(WORKERS)
    sql("UPDATE workers SET seen_at = seen_at - interval '1 minute'")
    eventually(lambda: sql(WORKERS)[0]["fresh"])  # it says so again
    child.send_signal(signal.SIGTERM)

    assert (row["queues"], row["threads"]) == (["expiry-reminders", "gift-card-expiry"], 10)
    eventually(lambda: sql(WORKERS) == [])


def one(sql: Sql) -> dict[str, Any]:
    [row] = sql("SELECT *, started_at < clock_timestamp() - interval '1 hour' AS old FROM workers")
    return row


def test_a_process_of_the_same_name_as_one_before_it_began_anew(sql: Sql) -> None:
    presence = Presence(["maintenance"], 5)
    presence.say()
    sql(OLD.format(1))

    presence.say()
    the_same = one(sql)["old"]
    Presence(["maintenance"], 7).say()

    assert the_same
    assert (one(sql)["old"], one(sql)["threads"], one(sql)["name"]) == (False, 7, worker_name())


def test_what_was_killed_is_forgotten_after_an_hour_by_whoever_lives(sql: Sql) -> None:
    Presence(["maintenance"], 5).say()
    sql("UPDATE workers SET name = 'pod-7:' || %s", os.getpid())
    sql(OLD.format(59))
    Presence(["maintenance"], 5).say()
    both = sql("SELECT FROM workers")
    sql("UPDATE workers SET seen_at = seen_at - interval '2 minutes' WHERE name <> %s", worker_name())

    Presence(["maintenance"], 5).say()

    assert len(both) == 2
    assert one(sql)["name"] == worker_name()
