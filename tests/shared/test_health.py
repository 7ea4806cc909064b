"""Probes: alive is about our own threads, ready about what we need, and metrics tell both."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from services.scheduler.__main__ import SchedulerProbe
from services.scheduler.counts import CACHE_S, Asked
from shared import db, health
from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.cable import Cable
from tests.kinds import Deliver, Eventually, Setting, Sql, StartWorker
from tests.shared.conftest import Acting

QUEUE = "gift-card-expiry"


def get(port: int, page: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{page}", timeout=20) as answer:  # loopback
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def port_now() -> int:
    assert health._server is not None
    return int(health._server.server_port)


@pytest.fixture
def served(setting: Setting, database: str) -> Iterator[Any]:
    """Serve a probe whose answers a test sets: ``served.wrong["dead"].append("thread")``."""
    setting(http_port=0)
    wrong: dict[str, list[str]] = {"dead": [], "missing": []}
    probe = SimpleNamespace(dead=lambda: wrong["dead"], missing=lambda: wrong["missing"])
    yield SimpleNamespace(port=health.serve(probe), wrong=wrong)
    health.stop()


def test_a_well_process_is_alive_and_ready(served: Any) -> None:
    assert get(served.port, "/livez") == (200, "ok\n")
    assert get(served.port, "/readyz?verbose") == (200, "ok\n")


def test_what_is_wrong_is_named(served: Any) -> None:
    served.wrong["dead"].append("WorkerThread-3")
    served.wrong["missing"] += ["broker", "database"]

    assert get(served.port, "/livez") == (503, "WorkerThread-3\n")
    assert get(served.port, "/readyz") == (503, "broker, database\n")


def test_another_page_says_which_there_are(served: Any) -> None:
    assert get(served.port, "/") == (404, "try /livez, /readyz or /metrics\n")


def test_a_taken_port_is_stepped_over(served: Any, setting: Setting) -> None:
    setting(http_port=served.port)
    first, health._server = health._server, None

    try:
        assert health.serve(SimpleNamespace()) > served.port
    finally:
        health.stop()
        health._server = first


def test_metrics_count_a_job_without_saying_whose(acting: Acting, deliver: Deliver, served: Any) -> None:
    acting(lambda *_: None)
    message = ExpireGiftCard(gift_card_id=uuid4())

    (job_id,) = deliver(message)

    status, text = get(served.port, "/metrics")
    assert status == 200
    assert 'jobs_total{actor="expire_gift_card",outcome="succeeded",queue="gift-card-expiry",reason=""}' in text
    assert "job_duration_seconds_bucket" in text
    assert str(job_id) not in text
    assert str(message.gift_card_id) not in text


def test_a_worker_with_a_dead_thread_is_not_alive(
    setting: Setting, worker: StartWorker, publisher: Publisher, eventually: Eventually
) -> None:
    setting(http_port=0)
    running = worker(QUEUE)
    eventually(lambda: get(port_now(), "/readyz")[0] == 200)
    assert get(port_now(), "/livez")[0] == 200

    victim = running.workers[0]
    victim.stop()
    victim.join(20)

    status, text = get(port_now(), "/livez")
    assert status == 503
    assert victim.name in text


def test_a_worker_without_its_broker_is_alive_and_not_ready(
    rabbitmq: str, setting: Setting, worker: StartWorker, publisher: Publisher, eventually: Eventually
) -> None:
    from shared.broker import get_broker

    setting(http_port=0)
    with Cable(rabbitmq) as cable:
        get_broker().use(cable.url)
        running = worker(QUEUE)
        eventually(lambda: get(port_now(), "/readyz")[0] == 200)

        cable.cut()

        eventually(lambda: get(port_now(), "/readyz")[0] == 503)
        assert QUEUE in get(port_now(), "/readyz")[1]
        assert get(port_now(), "/livez")[0] == 200
        get_broker().use(rabbitmq)
        eventually(lambda: get(port_now(), "/readyz")[0] == 200)
        assert running.consumers


def test_a_scheduler_says_which_loop_has_ended_and_what_is_away(database: str, rabbitmq: str) -> None:
    loops = [
        SimpleNamespace(name=name, is_alive=lambda alive=alive: alive)
        for name, alive in (("relay", True), ("listen", False))
    ]
    with Publisher("amqp://127.0.0.1:1", timeout_s=0.5) as publisher:
        probe = SchedulerProbe(loops, publisher)  # type: ignore[arg-type]  # they answer like threads

        assert probe.dead() == ["listen"]
        assert probe.missing() == ["broker"]
        db.stopping.set()
        assert probe.dead() == []
        assert "stopping" in probe.missing()


def test_counts_per_queue_are_the_seeds_five(database: str, sql: Sql) -> None:
    states = ["scheduled", "queued", "running", "succeeded", "skipped", "cancelled", "failed", "rejected"]
    for state in states:
        sql("INSERT INTO jobs (name, queue, state) VALUES ('expire_gift_card', %s, %s)", QUEUE, state)
    sql(
        "INSERT INTO jobs (name, queue, state, run_at) VALUES ('expire_gift_card', %s, 'scheduled',"
        " clock_timestamp() + interval '1 hour')",
        QUEUE,
    )

    jobs, oldest, *_ = Asked().collect()

    found = {s.labels["state"]: s.value for s in jobs.samples if s.labels["queue"] == QUEUE}
    assert found == {"waiting": 2, "active": 1, "delayed": 1, "completed": 3, "failed": 2, "paused": 0}
    assert next(s.value for s in oldest.samples if s.labels["queue"] == QUEUE) > 0


def test_every_log_line_is_one_json_object(acting: Acting, deliver: Deliver, capfd: Any) -> None:
    from shared import logs

    logs.configure("INFO")
    acting(lambda *_: None)
    (job_id,) = deliver(ExpireGiftCard(gift_card_id=uuid4()))

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (done,) = [line for line in lines if line.get("job_id") == str(job_id)]
    assert done["event"] == "completed"
    assert done["queue"] == QUEUE


def test_a_log_line_takes_no_way_through_another_process(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    from shared import logs

    piped = io.StringIO()  # as in a worker, whose sys.stderr goes by way of Dramatiq's first process
    monkeypatch.setattr(sys, "stderr", piped)
    logs.configure("INFO")

    logs.get().info("here")
    logging.getLogger("library").warning("here, too")

    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == ["here", "here, too"]
    assert piped.getvalue() == ""


def test_what_is_held_is_counted_until_somebody_decides(database: str, sql: Sql, card: Any) -> None:
    card_id = card("12.50")
    sql("UPDATE gift_cards SET expiry_hold = 'unreached' WHERE id = %s", card_id)
    sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state, reason)"
        " VALUES ('x', %s, 'gift', 'email', 1, 'unconfirmed', 'held')",
        card_id,
    )
    sql("INSERT INTO breakers (provider, probe_at) VALUES ('twilio', now())")
    sql("INSERT INTO brakes (name, details) VALUES ('expiry', '{}')")

    found = {s.name: (s.labels, s.value) for family in Asked().collect() for s in family.samples[:1]}

    assert found["gift_cards_unreached_value"] == ({"currency": "EUR"}, 12.5)
    assert found["gift_cards_outstanding_value"] == ({"currency": "EUR"}, 12.5)
    assert found["deliveries_open"] == ({"channel": "email", "reason": "held"}, 1)
    assert found["breakers_open"] == ({"provider": "twilio"}, 1)
    assert found["brakes_pulled"] == ({"name": "expiry"}, 1)


def test_only_what_can_still_be_spent_is_owed_and_it_is_counted_now_and_then(
    database: str, sql: Sql, card: Any
) -> None:
    cards = {status: card("12.50") for status in ("PENDING", "ACTIVE", "CANCELLED")}
    for status, card_id in cards.items():
        sql("UPDATE gift_cards SET status = %s WHERE id = %s", status, card_id)
    asked = Asked()

    def owed() -> float:
        return next(s.value for family in asked.collect() for s in family.samples if "outstanding" in s.name)

    assert owed() == 25
    card("5.00")
    for name in asked._good_until.keys() - {"gift_cards_outstanding_value"}:
        asked._good_until[name] = 0.0
    assert owed() == 25


def test_registering_the_gauges_asks_the_database_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that starts beside large or locked tables must not wait for them before it can say that it lives."""
    monkeypatch.setattr(db, "transaction", lambda: pytest.fail("asked at start"))

    CollectorRegistry(auto_describe=True).register(Asked())


def test_the_longer_a_count_takes_the_longer_it_is_good_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked, times = 1000.0, Asked(), list[float]()

    def count() -> list[GaugeMetricFamily]:
        nonlocal now
        times.append(now)
        now += 3
        return [GaugeMetricFamily("queue_jobs", "Jobs.", value=1)]

    monkeypatch.setattr("services.scheduler.counts.time.monotonic", lambda: now)
    for _ in range(100):
        asked._ask("queues", CACHE_S, count)
        now += 1

    assert times == [1000, 1063]


def test_a_process_says_what_was_built_and_how_its_pool_is_used(served: Any, setting: Setting) -> None:
    setting(http_port=0, build_version="1.2.3", build_revision="abc")
    with db.transaction():
        page = get(served.port, "/metrics")[1]

    assert 'giftcard_jobs_build_info{python="3.' in page
    assert 'revision="abc",version="1.2.3"} 1.0' in page
    assert re.search(r'^database_pool_connections\{state="used"\} [1-9]', page, re.MULTILINE)


def test_a_duration_leads_to_its_trace(served: Any, acting: Acting, deliver: Deliver) -> None:
    trace_id = uuid4().hex
    acting(lambda *_: None)

    deliver(Envelope(ExpireGiftCard(gift_card_id=uuid4()), traceparent=f"00-{trace_id}-00f067aa0ba902b7-01"))

    asked = Request(f"http://127.0.0.1:{served.port}/metrics", headers={"Accept": "application/openmetrics-text"})
    with urlopen(asked) as answer:  # noqa: S310  # loopback
        page = answer.read().decode()
    assert f'# {{trace_id="{trace_id}"}}' in page
