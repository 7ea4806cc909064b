"""What the tests stand on: a database of its own per test, a virtual host of its own, and a card in one line."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

# Actors are bound to a broker when they are imported, which reads the settings; each test then sets its own.
os.environ.setdefault("JOBS_DATABASE_URL", "postgresql://set-by-a-fixture")
os.environ.setdefault("JOBS_RABBITMQ_URL", "amqp://set-by-a-fixture")

import psycopg
import pytest
from cryptography.fernet import Fernet
from dramatiq import Worker
from hypothesis import settings as hypothesis
from psycopg.rows import dict_row

from services.delivery import sms, smtp
from shared import db
from shared.actor import run as run_envelope
from shared.broker import get_broker
from shared.messages import Message
from shared.publisher import Publisher
from shared.settings import settings
from shared.wire import Envelope
from tests import servers
from tests.outside import Outside

Rows = list[dict[str, Any]]
# The same examples at each run, so that CI does not blink. To look further: HYPOTHESIS_PROFILE=long .venv/bin/pytest …
hypothesis.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.register_profile("long", derandomize=False, deadline=None, max_examples=5000)
hypothesis.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

CODE = "GIFT-7Q4X-9WXYZ"
CODE_KEY = "4yQ7hJm0o8XhL1m4v0zqVY8aD0uT1n2bq7l0aXcE3vE="


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Take our log handler away again: it would write to stderr in the tests that come after, too."""
    yield
    logging.root.handlers[:] = [one for one in logging.root.handlers if type(one) is not logging.StreamHandler]


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set settings for one test: ``setting(lease_s=1, queues__email_delivery__rate_per_s=100)``."""

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"JOBS_{name.upper()}", str(value))
        settings.cache_clear()

    yield change
    settings.cache_clear()


@pytest.fixture
def service() -> str | None:
    """Name the service whose role this process has in the database; None: the owner of the tables.

    The tests of a service say which one, so that a privilege that is missing is found.
    """
    return None


@pytest.fixture
def database(setting: Callable[..., None], service: str | None) -> Iterator[str]:
    """Lend a migrated database of its own, as this process's settings. The URL it gives is the owner's."""
    with servers.fresh_database() as url:
        # No limit by default: a test that is about the rate sets one.
        rates = {f"queues__{q.replace('-', '_')}__rate_per_s": "10000" for q in settings_queues()}
        setting(database_url=servers.as_service(url, service) if service else url, **rates)
        db.stopping.clear()
        yield url
        db.close_pool()


def settings_queues() -> tuple[str, ...]:
    from shared.messages import QUEUES

    return QUEUES


@pytest.fixture
def sql(database: str) -> Iterator[Callable[..., Rows]]:
    """Run SQL as upstream would: ``sql("SELECT … %s", value)`` gives rows as dictionaries."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as connection:

        def execute(statement: str, *values: object) -> Rows:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description is not None else []

        yield execute


@pytest.fixture
def forsake(sql: Callable[..., Rows]) -> Callable[[], None]:
    """Let all leases be over, now, as if their workers were dead: a short one would end under a slow one, too."""

    def end() -> None:
        sql("UPDATE jobs SET lease_until = clock_timestamp() WHERE state = 'running'")

    return end


@pytest.fixture
def hold_cards(database: str) -> Callable[[], AbstractContextManager[object]]:
    """Lock all cards, as somebody does who works on them: ``with hold_cards():``. Nothing is done together then."""

    @contextmanager
    def hold() -> Iterator[None]:
        with psycopg.connect(database) as connection:
            connection.execute("SELECT FROM gift_cards FOR UPDATE")
            yield

    return hold


@pytest.fixture
def card(sql: Callable[..., Rows]) -> Callable[..., UUID]:
    """Issue a card with its ledger entry: ``card(balance="25.00", expired=True, recipient_email=…)``."""

    def issue(balance: str = "25.00", *, expired: bool = False, **fields: object) -> UUID:
        row = {
            "id": uuid4(),
            "currency": "EUR",
            "balance": Decimal(balance),
            "code_encrypted": Fernet(CODE_KEY).encrypt(CODE.encode()).decode(),
            "code_last4": "WXYZ",
            "expires_on": date.today() + timedelta(days=-2 if expired else 365),
            "recipient_email": "ada@example.com",
            "recipient_phone": "+14155550123",
            **fields,
        }
        names = ", ".join(row)
        sql(
            f"WITH c AS (INSERT INTO gift_cards ({names}, ledger_sequence)"
            f" VALUES ({', '.join(['%s'] * len(row))}, 1) RETURNING *)"
            " INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
            " idempotency_key) SELECT id, 1, 'ISSUE', currency, balance, 0, balance, 'issue:' || id FROM c",
            *row.values(),
        )
        return UUID(str(row["id"]))

    return issue


@pytest.fixture
def ledger(sql: Callable[..., Rows]) -> Callable[..., list[Decimal]]:
    """Give the amounts booked on a card under a type, in order."""

    def amounts(card_id: UUID, kind: str = "EXPIRY") -> list[Decimal]:
        rows = sql(
            "SELECT amount FROM transactions WHERE gift_card_id = %s AND type = %s ORDER BY sequence", card_id, kind
        )
        return [row["amount"] for row in rows]

    return amounts


@pytest.fixture
def deliver(database: str) -> Callable[..., list[UUID]]:
    """Let workers of this process run messages (or envelopes), all at once, and give the jobs' ids."""

    def run(*messages: Message | Envelope) -> list[UUID]:
        envelopes = [m if isinstance(m, Envelope) else Envelope(m) for m in messages]
        with ThreadPoolExecutor(max(1, len(envelopes))) as threads:
            list(threads.map(_run_in_a_thread, envelopes))
        return [e.id for e in envelopes]

    return run


def _run_in_a_thread(envelope: Envelope) -> None:
    try:
        run_envelope([envelope])
    finally:  # as a worker's thread does at its end
        smtp.close()
        sms.close()


@pytest.fixture
def job(sql: Callable[..., Rows]) -> Callable[[UUID], dict[str, Any]]:
    """Give a job's row by its id."""
    return lambda job_id: sql("SELECT * FROM jobs WHERE id = %s", job_id)[0]


@pytest.fixture
def rabbitmq(setting: Callable[..., None]) -> Iterator[str]:
    """Lend a virtual host of its own, as this process's settings."""
    with servers.fresh_vhost() as url:
        setting(rabbitmq_url=url)
        get_broker().use(url)
        yield url


@pytest.fixture
def publisher(rabbitmq: str) -> Iterator[Publisher]:
    """Publish to this test's virtual host, in which every queue is declared."""
    from services.scheduler.relay import declare_queues

    declare_queues()
    with Publisher(rabbitmq, source="test") as publisher:
        yield publisher


@pytest.fixture
def worker(database: str, rabbitmq: str) -> Iterator[Callable[..., Worker]]:
    """Start a Dramatiq worker in this process: ``worker("gift-card-expiry")`` with its service's actors imported."""
    with ExitStack() as stack:

        def start(*queues: str) -> Worker:
            worker = Worker(get_broker(), queues=set(queues) or None, worker_timeout=100)
            worker.start()
            stack.callback(_stop, worker)
            return worker

        yield start


def _stop(worker: Worker) -> None:
    worker.stop(10_000)
    middleware = get_broker().middleware
    middleware[:] = [m for m in middleware if getattr(m, "worker", None) is not worker]


@pytest.fixture
def login(database: str, rabbitmq: str) -> Callable[[str], dict[str, str]]:
    """Give the variables by which a service signs in as itself: its role, and its user of the broker."""
    return lambda service: {
        "JOBS_DATABASE_URL": servers.as_service(database, service),
        "JOBS_RABBITMQ_URL": servers.as_broker_user(rabbitmq, service),
        "JOBS_TOPOLOGY_URL": servers.as_broker_user(rabbitmq, "topology") if service == "scheduler" else "",
    }


@pytest.fixture
def process(login: Callable[[str], dict[str, str]], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a service as its own process: ``process("expiry", failpoints="effect=kill")``; killed with the test.

    It logs to a file in ``tmp_path``, and has the role and the permissions of its service, so queues are made for it.
    """
    from services.scheduler.relay import declare_queues

    declare_queues()
    with ExitStack() as stack:

        def start(service: str, *, failpoints: str = "", **env: str) -> subprocess.Popen[str]:
            command = (
                [sys.executable, "-m", "services.scheduler"]
                if service == "scheduler"
                else [sys.executable, "-m", "dramatiq", f"services.{service}.actors", "--processes", "1"]
            )
            values = {"JOBS_HTTP_PORT": "0", "JOBS_FAILPOINTS": failpoints, **login(service), **env}
            with (tmp_path / f"{service}.log").open("a") as log:
                child = subprocess.Popen(
                    command, env=os.environ | values, text=True, start_new_session=True, stderr=log
                )
            stack.callback(_end, child)
            return child

        yield start


def _end(child: subprocess.Popen[str]) -> None:
    """Kill a service with all of its processes; what they leave behind is what a test is about."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


@pytest.fixture
def outside(setting: Callable[..., None]) -> Iterator[Outside]:
    """Lend an SMTP relay and a Twilio of its own, as this process's settings, and a key for card codes."""
    with Outside() as world:
        setting(code_keys=json.dumps([CODE_KEY]), settle_s=0, sms_quiet_hours="", **world.settings())
        yield world


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Wait until something is true, long enough that only a real failure fails: ``eventually(lambda: …)``."""

    def wait(condition: Callable[[], object], within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "did not come true in time"
            threading.Event().wait(0.05)

    return wait
