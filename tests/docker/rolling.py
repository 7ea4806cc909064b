"""A rolling restart of every service under load loses nothing and doubles nothing."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
import requests
import stamina
from psycopg.rows import DictRow, dict_row

from deploy.local import compose
from deploy.local.demo.people import Person, person
from deploy.local.demo.shop import Shop
from deploy.local.stack import Stack
from shared.invariants import violations
from shared.messages import ExpireGiftCard, SendGiftCardEmail
from shared.publisher import Publisher
from tests.docker.images import docker
from tests.kinds import Eventually

# A mail that is under way while PostgreSQL is away may be sent twice, by promise (the chaos run counts those); the
# stand-ins forget what they took; the migration has ended.
LEFT_ALONE = {"postgres", "outside", "migration"}
STATE = "{{.RestartCount}} {{.State.Health.Status}}"
# All but the first process, which the kernel protects from its own, and the one that does it.
KILL_CHILDREN = (
    "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc')"
    " if p.isdigit() and int(p) not in (1, os.getpid())]"
)
DONE = "SELECT count(*) FROM jobs WHERE source IN ('rolling', 'console') AND finished_at IS NOT NULL"
REPORTED = "SELECT state, count(*) FROM deliveries WHERE channel = 'sms' GROUP BY state"


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection[DictRow]]:
    with psycopg.connect(stack.env["JOBS_DATABASE_URL"], autocommit=True, row_factory=dict_row) as connection:
        yield connection


class Load:
    """A shop that asks for a mail, a text and an expiry again and again, in a thread of its own.

    Texts are asked for at the console, and reported on to the webhooks; the rest goes to the broker.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._chance = random.Random(7)
        self._enough = threading.Event()
        self.wanted: Counter[str] = Counter()
        self.asked = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        reports = {"statuses": ["sent", "delivered"]}
        requests.post(f"{self._stack.inbox_url}callbacks", json=reports, timeout=10).raise_for_status()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(self._ask)
            try:
                yield
            finally:
                self._enough.set()
            asking.result()

    def _ask(self) -> None:
        with Publisher(self._stack.env["JOBS_RABBITMQ_URL"], source="rolling", timeout_s=120) as publisher:
            while not self._enough.wait(0.1):
                to = person(1_000 + self.asked, self._chance)  # above, American numbers have a digit too many
                publisher.send(SendGiftCardEmail(gift_card_id=self._issue(to)))
                self._text(self._issue(to))
                due = self._issue(to, expires_on="2020-01-01", email=None, phone=None)
                publisher.send(ExpireGiftCard(gift_card_id=due))
                self.wanted.update([to.email, to.phone])
                self.asked += 3

    def _issue(self, to: Person, **fields: object) -> UUID:
        with psycopg.connect(self._stack.env["JOBS_DATABASE_URL"]) as connection:
            return Shop(connection, self._stack.env["JOBS_CODE_KEYS"][2:-2], self._chance).issue(to, **fields)

    @stamina.retry(on=requests.RequestException, timeout=120, attempts=None)
    def _text(self, card_id: UUID) -> None:
        """Ask until it is answered, as a program should that does not know whether it was heard."""
        job: Any = {
            "name": "send_gift_card_sms",
            "data": {"gift_card_id": str(card_id)},
            "dedupe_key": f"sms:{card_id}",
        }
        url, (login, password) = f"{self._stack.console_url}/api/v1/jobs", self._stack.env["CONSOLE_LOGIN"].split(":")
        asked = requests.post(url, json=job | {"reason": "she called"}, auth=(login, password), timeout=30)
        asked.raise_for_status()


def containers() -> list[tuple[str, str]]:
    """Give service and container of all that runs."""
    lines = compose.run("ps", "--format", "{{.Service}} {{.ID}}").splitlines()
    return [(service, container) for service, container in map(str.split, lines)]


def accepted(stack: Stack) -> Counter[str]:
    return Counter(entry["to"] for entry in requests.get(f"{stack.inbox_url}messages.json", timeout=30).json())


@pytest.mark.timeout(1200)
def test_every_service_is_restarted_under_load_and_nothing_is_lost_or_doubled(
    stack: Stack, database: psycopg.Connection[DictRow], eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    load, restarted = Load(stack), Counter[str]()

    with load.running():
        for service, container in containers():
            if service not in LEFT_ALONE:
                docker("restart", "--time", "60", container)
                compose.run("up", "--wait", "--no-deps", "--no-recreate", service)
                restarted[service] += 1
        time.sleep(1)
    eventually(lambda: database.execute(DONE).fetchone() == {"count": load.asked}, within_s=300)

    assert restarted.keys() == set(compose.run("config", "--services").split()) - LEFT_ALONE
    assert restarted["scheduler"] == 2
    assert load.asked > 100
    got = accepted(stack)
    assert {address: got[address] for address in load.wanted} == dict(load.wanted)
    assert not any(violations(database).values())
    reported = {row["state"]: row["count"] for row in database.execute(REPORTED)}
    assert reported["delivered"] > 0
    assert reported.keys() <= {"sent", "delivered"}
    with capsys.disabled():
        print(f"\n{load.asked} jobs while {sum(restarted.values())} containers were restarted; texts: {reported}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", ["expiry", "delivery"])
def test_a_worker_whose_process_is_killed_comes_back_by_itself(
    stack: Stack, service: str, eventually: Eventually
) -> None:
    (container,) = compose.run("ps", "--quiet", service).split()

    compose.run("exec", "-T", service, "python", "-c", KILL_CHILDREN)

    eventually(lambda: docker("inspect", "--format", STATE, container).split() == ["1", "healthy"], within_s=120)
