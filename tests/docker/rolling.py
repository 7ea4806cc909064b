"""A rolling restart of every service under load loses nothing and doubles nothing."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import requests
from psycopg.rows import DictRow, dict_row

from deploy.local import compose
from deploy.local.demo.people import person
from deploy.local.demo.shop import Shop
from deploy.local.stack import Stack
from shared.invariants import violations
from shared.messages import ExpireGiftCard, SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from tests.docker.images import docker
from tests.kinds import Eventually

SERVICES = ("expiry", "delivery", "cleanup", "scheduler", "webhooks")
STATE = "{{.RestartCount}} {{.State.Health.Status}}"
# All but the first process, which the kernel protects from its own, and the one that does it.
KILL_CHILDREN = (
    "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc')"
    " if p.isdigit() and int(p) not in (1, os.getpid())]"
)
DONE = "SELECT count(*) FROM jobs WHERE source = 'rolling' AND finished_at IS NOT NULL"


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection[DictRow]]:
    with psycopg.connect(stack.env["JOBS_DATABASE_URL"], autocommit=True, row_factory=dict_row) as connection:
        yield connection


class Load:
    """A shop that asks for a mail, a text and an expiry again and again, in a thread of its own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._enough = threading.Event()
        self.wanted: Counter[str] = Counter()
        self.expired: list[object] = []
        self.asked = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()

    def _ask(self) -> None:
        chance = random.Random(7)
        with (
            psycopg.connect(self._stack.env["JOBS_DATABASE_URL"], autocommit=True) as connection,
            Publisher(self._stack.env["JOBS_RABBITMQ_URL"], source="rolling", timeout_s=60) as publisher,
        ):
            shop = Shop(connection, self._stack.env["JOBS_CODE_KEYS"][2:-2], chance)
            while not self._enough.wait(0.1):
                to = person(1_000 + self.asked, chance)  # above, American numbers have a digit too many
                publisher.send(SendGiftCardEmail(gift_card_id=shop.issue(to)))
                publisher.send(SendGiftCardSms(gift_card_id=shop.issue(to)))
                due = shop.issue(to, expires_on="2020-01-01", email=None, phone=None)
                publisher.send(ExpireGiftCard(gift_card_id=due))
                self.wanted.update([to.email, to.phone])
                self.asked += 3


def accepted(stack: Stack) -> Counter[str]:
    return Counter(entry["to"] for entry in requests.get(f"{stack.inbox_url}messages.json", timeout=30).json())


@pytest.mark.timeout(1200)
def test_every_service_is_restarted_under_load_and_nothing_is_lost_or_doubled(
    stack: Stack, database: psycopg.Connection[DictRow], eventually: Eventually
) -> None:
    load = Load(stack)

    with load.running():
        for service in SERVICES:
            compose.run("restart", "--no-deps", "--timeout", "40", service)
            compose.run("up", "--wait", "--no-deps", service)
        time.sleep(1)
    eventually(lambda: database.execute(DONE).fetchone() == {"count": load.asked}, within_s=300)

    assert load.asked > 100
    got = accepted(stack)
    assert {address: got[address] for address in load.wanted} == dict(load.wanted)
    assert not any(violations(database).values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", ["expiry", "delivery"])
def test_a_worker_whose_process_is_killed_comes_back_by_itself(
    stack: Stack, service: str, eventually: Eventually
) -> None:
    (container,) = compose.run("ps", "--quiet", service).split()

    compose.run("exec", "-T", service, "python", "-c", KILL_CHILDREN)

    eventually(lambda: docker("inspect", "--format", STATE, container).split() == ["1", "healthy"], within_s=120)
