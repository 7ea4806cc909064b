"""A worker process on a real broker: killed, stopped, cut off, and never a job lost or doubled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import UUID, uuid4

import dramatiq.worker
import pika
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from services.scheduler.relay import Relay, declare_queues
from services.scheduler.rescue import rescue
from shared import consumer, metrics
from shared.broker import get_broker
from shared.jobs import Job
from shared.messages import ExpireDueGiftCards, ExpireGiftCard
from shared.publisher import Publisher
from tests import servers
from tests.cable import Cable
from tests.kinds import Eventually, HoldCards, Issue, JobOf, Ledger, Setting, Sql, StartProcess, StartWorker
from tests.shared.conftest import Acting

QUEUE = "gift-card-expiry"
FINAL = ("succeeded", "skipped", "failed", "rejected", "cancelled")
OFF = {
    f"JOBS_TIMETABLE__{name}__CRON": "0 0 29 2 mon"
    for name in ("CLEANUP_EXPIRED_TOKENS", "EXPIRE_DUE_GIFT_CARDS", "PLAN_EXPIRY_REMINDERS", "PRUNE_HISTORY")
}
HASTE = {"dramatiq_restart_delay": "100", "JOBS_LEASE_S": "1", "JOBS_SILENT_S": "2"}


def end(process: subprocess.Popen[str]) -> None:
    """Kill a service with its children, as a power cut does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@pytest.fixture
def cable(rabbitmq: str) -> Iterator[Cable]:
    """Lie between a worker and its broker; it lasts longer than the worker."""
    with Cable(rabbitmq) as cable:
        yield cable


@pytest.fixture
def start(process: StartProcess) -> Callable[..., subprocess.Popen[str]]:
    """Start a service in a hurry: short leases, quick reconnects, and no tick of its own."""
    return lambda service, **more: process(service, **{**OFF, **HASTE, **more})


@pytest.mark.parametrize(("point", "stalls"), [("claimed", 1), ("effect", 0), ("committed", 0)])
def test_a_worker_killed_anywhere_books_once_in_the_end(
    point: str,
    stalls: int,
    start: Any,
    publisher: Publisher,
    card: Issue,
    hold_cards: HoldCards,
    ledger: Ledger,
    job: JobOf,
    eventually: Eventually,
    setting: Setting,
    sql: Sql,
) -> None:
    card_id = card("25.00", expired=True)
    job_id = publisher.send(ExpireGiftCard(gift_card_id=card_id))

    with hold_cards() if point == "claimed" else nullcontext():
        assert start("expiry", failpoints=f"{point}=kill").wait(60) != 0, "its master ends with it"
    assert ledger(card_id) == ([Decimal(-25)] if point == "committed" else [])
    start("expiry")
    relay = Relay(publisher)
    eventually(lambda: (rescue(), relay.publish_due()) and sql("SELECT FROM jobs WHERE finished_at IS NOT NULL"))

    assert job(job_id)["state"] == "succeeded"
    assert job(job_id)["stalls"] == stalls
    assert ledger(card_id) == [Decimal(-25)]


def test_a_worker_killed_while_it_writes_down_a_failure_tries_again(
    start: Any, publisher: Publisher, job: JobOf, eventually: Eventually, setting: Setting
) -> None:
    job_id = publisher.send(ExpireGiftCard(gift_card_id=uuid4()))  # there is no such card
    haste = {"JOBS_UNKNOWN_CARD_GRACE_S": "0"}

    assert start("expiry", failpoints="failing=kill", **haste).wait(60) != 0
    assert job(job_id)["state"] == "running"
    start("expiry", **haste)
    relay = Relay(publisher)
    eventually(lambda: (rescue(), relay.publish_due()) and job(job_id)["state"] in FINAL)

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("rejected", "card_not_found")


def test_a_sweep_killed_between_slices_is_finished_by_the_next_run(
    start: Any, publisher: Publisher, card: Issue, ledger: Ledger, job: JobOf, eventually: Eventually
) -> None:
    cards = [card("25.00", expired=True) for _ in range(5)]
    job_id = publisher.send(ExpireDueGiftCards())

    assert start("expiry", failpoints="slice=kill", JOBS_SLICE_ROWS="2").wait(60) != 0
    assert sum(len(ledger(card_id)) for card_id in cards) == 2
    start("expiry", JOBS_SLICE_ROWS="2")
    relay = Relay(publisher)
    eventually(lambda: (rescue(), relay.publish_due()) and job(job_id)["state"] in FINAL)

    assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 5


@pytest.mark.parametrize("point", ["relay-claimed", "relay-published", "rescuing", "ticking"])
def test_a_scheduler_killed_anywhere_loses_nothing(
    point: str, start: Any, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    (row,) = sql("SELECT enqueue_job('prune_history') AS id")
    sql(
        "INSERT INTO jobs (name, queue, state, epoch, lease_until) VALUES ('cleanup_expired_tokens', 'cleanup-tokens',"
        " 'running', 1, clock_timestamp() - interval '1 minute')"
    )
    sql("INSERT INTO schedules VALUES ('expire_due_gift_cards', clock_timestamp() - interval '2 minutes')")
    ticking = {"JOBS_TIMETABLE__EXPIRE_DUE_GIFT_CARDS__CRON": "* * * * *"}

    assert start("scheduler", failpoints=f"{point}=kill", **ticking).wait(60) == -signal.SIGKILL
    start("scheduler", **ticking)

    eventually(lambda: not sql("SELECT FROM jobs WHERE state <> 'queued'"))
    made = sql("SELECT name, count(*) AS n FROM jobs WHERE name <> 'expire_due_gift_cards' GROUP BY name ORDER BY name")
    assert made == [{"name": "cleanup_expired_tokens", "n": 1}, {"name": "prune_history", "n": 1}]
    eventually(lambda: sql("SELECT id FROM jobs WHERE name = 'expire_due_gift_cards'"))
    assert sql("SELECT stalls FROM jobs WHERE name = 'cleanup_expired_tokens'") == [{"stalls": 1}]
    assert sql("SELECT name FROM jobs WHERE id = %s", row["id"]) == [{"name": "prune_history"}]


def test_a_job_that_always_kills_its_worker_ends_as_stalled(
    start: Any, publisher: Publisher, job: JobOf, eventually: Eventually
) -> None:
    job_id = publisher.send(ExpireGiftCard(gift_card_id=uuid4()))
    relay = Relay(publisher)

    for stalls in (1, 2, 3):
        assert start("expiry", failpoints="claimed=kill").wait(60) != 0
        eventually(lambda stalls=stalls: (rescue(), job(job_id)["stalls"] == stalls)[1])  # type: ignore[misc]
        relay.publish_due()

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("failed", "stalled")


def blocked(sql: Sql) -> int:
    """Count the sessions that wait for a lock in this database."""
    rows = sql(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(rows[0]["n"])


def test_sigterm_lets_the_running_jobs_finish_and_gives_the_others_back(
    start: Any,
    publisher: Publisher,
    card: Issue,
    sql: Sql,
    ledger: Ledger,
    database: str,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    cards = [card("25.00", expired=True) for _ in range(30)]
    ids = publisher.send_many([ExpireGiftCard(gift_card_id=card_id) for card_id in cards])
    with psycopg.connect(database) as holder:  # the jobs that run now stand before the first card
        holder.execute("LOCK TABLE transactions IN EXCLUSIVE MODE")
        worker = start(
            "expiry",
            JOBS_QUEUES__GIFT_CARD_EXPIRY__CONCURRENCY="2",
            JOBS_QUEUES__EXPIRY_REMINDERS__CONCURRENCY="1",
            JOBS_LEASE_S="60",
        )
        port = port_of(tmp_path / "expiry.log", eventually)
        eventually(lambda: blocked(sql) == 3)

        worker.terminate()
        eventually(lambda: probe(port, "readyz") == 503)
        assert probe(port, "livez") == 200
        holder.commit()
    assert worker.wait(60) == 0

    done = sql("SELECT id FROM jobs WHERE state = 'succeeded'")
    assert 3 <= len(done) < 30
    assert not sql("SELECT FROM jobs WHERE state <> 'succeeded'"), "what was only fetched is in the broker, not here"
    start("expiry")
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 30)
    assert {row["id"] for row in sql("SELECT id FROM jobs WHERE attempt = 1")} == set(ids)
    assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 30


def test_what_runs_beyond_the_grace_is_given_back_without_burning_an_attempt(
    start: Any, publisher: Publisher, card: Issue, sql: Sql, database: str, job: JobOf, eventually: Eventually
) -> None:
    job_id = publisher.send(ExpireGiftCard(gift_card_id=card("25.00", expired=True)))
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE transactions IN EXCLUSIVE MODE")
        worker = start("expiry", JOBS_SHUTDOWN_GRACE_S="0.2", JOBS_LEASE_S="60")
        eventually(lambda: blocked(sql) == 1 and sql("SELECT FROM jobs WHERE state = 'running'"))

        worker.terminate()
        eventually(lambda: worker.poll() is not None)

    row = job(job_id)
    assert (row["state"], row["reason"], row["attempt"]) == ("scheduled", "given_back", 0)
    assert not sql("SELECT FROM transactions WHERE type = 'EXPIRY'")


@pytest.mark.parametrize("loss", ["purged", "deleted", "cut off"])
def test_whatever_the_broker_loses_every_job_reaches_its_end(
    loss: str,
    start: Any,
    publisher: Publisher,
    rabbitmq: str,
    card: Issue,
    sql: Sql,
    ledger: Ledger,
    eventually: Eventually,
) -> None:
    cards = [card("25.00", expired=True) for _ in range(40)]
    for card_id in cards:
        sql("SELECT enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', %s::text))", card_id)
    relay = Relay(publisher)
    while relay.publish_due():
        pass
    with Cable(rabbitmq) as cable:
        if loss == "cut off":
            start("expiry", JOBS_RABBITMQ_URL=cable.url)
            eventually(lambda: sql("SELECT FROM jobs WHERE state = 'succeeded'"))
            cable.cut()
            cable.mend()
        else:
            with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
                channel = connection.channel()
                (channel.queue_purge if loss == "purged" else channel.queue_delete)(QUEUE)
            start("expiry")
        start("scheduler")

        eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 40)
        assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 40


def test_a_queue_deleted_under_a_running_worker_is_consumed_again(
    worker: StartWorker,
    acting: Acting,
    publisher: Publisher,
    rabbitmq: str,
    sql: Sql,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    monkeypatch.setattr(consumer, "LOOK_AFTER_S", 0.3)
    acting(lambda *_: None)
    worker(QUEUE)
    publisher.send(ExpireGiftCard(gift_card_id=uuid4()))
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 1)

    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        connection.channel().queue_delete(QUEUE)
    declare_queues()

    def arrives() -> bool:  # RabbitMQ 3.10 may lose what comes while the old queue still ends, so one is sent at a time
        publisher.send(ExpireGiftCard(gift_card_id=uuid4()))
        return len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) > 1

    eventually(arrives)


def test_an_ack_of_a_lost_connection_is_dropped_and_not_given_to_another_job(
    cable: Cable,
    worker: StartWorker,
    acting: Acting,
    publisher: Publisher,
    sql: Sql,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first job has tag 1 of the old channel; the second one has tag 1 of the new one and must stay unacked."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.05)
    monkeypatch.setattr(dramatiq.worker, "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.05)
    first, second = uuid4(), uuid4()
    gates = {first: threading.Event(), second: threading.Event()}
    running = list[UUID]()

    def function(message: ExpireGiftCard, _: Job) -> None:
        running.append(message.gift_card_id)
        gates[message.gift_card_id].wait(60)

    acting(function)
    dropped, duplicates = metrics.foreign_acks.labels(QUEUE), metrics.duplicates.labels(QUEUE)
    dropped_before, duplicates_before = dropped._value.get(), duplicates._value.get()
    get_broker().use(cable.url)
    worker(QUEUE)

    publisher.send(ExpireGiftCard(gift_card_id=first))
    eventually(lambda: running == [first])
    cable.cut()
    cable.mend()
    eventually(lambda: duplicates._value.get() == duplicates_before + 1)  # it came again, and is acked as one
    publisher.send(ExpireGiftCard(gift_card_id=second))
    eventually(lambda: running == [first, second])
    gates[first].set()
    eventually(lambda: dropped._value.get() == dropped_before + 1)
    cable.cut()
    cable.mend()

    eventually(lambda: duplicates._value.get() == duplicates_before + 2)  # so nobody had acked the second one
    gates[second].set()
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 2)


def test_a_database_that_is_away_makes_a_worker_wait_and_not_die(
    start: Any,
    publisher: Publisher,
    card: Issue,
    sql: Sql,
    database: str,
    tmp_path: Path,
    eventually: Eventually,
    ledger: Ledger,
) -> None:
    server, name = servers.database_server(), urlsplit(database).path.lstrip("/")
    cards = [card("25.00", expired=True) for _ in range(20)]
    worker = start("expiry", JOBS_LEASE_S="60")
    port = port_of(tmp_path / "expiry.log", eventually)
    eventually(lambda: probe(port, "readyz") == 200)

    with psycopg.connect(server, autocommit=True) as operator:
        operator.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name)))
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            " AND application_name = 'giftcard-jobs'",
            (name,),
        )
        publisher.send_many([ExpireGiftCard(gift_card_id=card_id) for card_id in cards])
        eventually(lambda: probe(port, "readyz") == 503)
        assert probe(port, "livez") == 200
        operator.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name)))

    eventually(lambda: probe(port, "readyz") == 200)
    eventually(lambda: [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 20)
    assert worker.poll() is None
    assert len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 20


def port_of(log: Path, eventually: Eventually) -> int:
    """Read from a service's log which port it listens on."""
    eventually(lambda: '"listening"' in log.read_text())
    found = re.findall(r'"port": (\d+)', log.read_text())
    return int(found[-1])


def probe(port: int, page: str) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:  # loopback
            return int(answer.status)
    except OSError as error:
        return int(getattr(error, "code", 0))


def test_the_timer_of_a_stopped_worker_ends_nothing_later(worker: StartWorker, setting: Setting) -> None:
    setting(shutdown_grace_s=3600)
    before = set(threading.enumerate())

    worker(QUEUE).stop(10_000)

    for timer in set(threading.enumerate()) - before:
        if isinstance(timer, threading.Timer):
            timer.join(20)
            assert not timer.is_alive(), "it would end this process in an hour"
