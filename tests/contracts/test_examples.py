"""The examples in other languages do what they say, on a real broker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pika
import pytest
from typer.testing import CliRunner

import services.delivery.actors  # noqa: F401  # registers the actors
from services.console.cli import app
from services.scheduler import outbox
from shared.publisher import Publisher
from tests import packages
from tests.kinds import Eventually, Issue, Sql, StartWorker

EXAMPLES = Path(__file__).parents[2] / "examples"
JARS = [Path("/usr/share/java") / name for name in ("amqp-client.jar", "slf4j-api.jar")]


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask_twice(command: list[str], cwd: Path, card: UUID, rabbitmq: str) -> list[UUID]:
    return [UUID(run(*command, str(card), cwd=cwd, RABBITMQ_URL=rabbitmq).split()[1]) for _ in range(2)]


def test_node_asks_for_a_gift_once(
    publisher: Publisher,
    rabbitmq: str,
    worker: StartWorker,
    card: Issue,
    sql: Sql,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    shutil.copytree(EXAMPLES / "node", tmp_path / "node")
    npm = packages.need(partial(shutil.which, "npm"), "npm")
    run(npm, "install", "--no-package-lock", "--no-audit", "--no-fund", cwd=tmp_path / "node")
    worker("scheduled-delivery")

    first, _ = ask_twice(["node", "publish.mjs"], tmp_path / "node", card(), rabbitmq)

    asked = "SELECT id FROM jobs WHERE source = 'node-shop' AND state = 'succeeded'"
    eventually(lambda: sql(asked))
    assert [row["id"] for row in sql(asked)] == [first]


def java() -> str | None:
    return shutil.which("java") if shutil.which("javac") and all(jar.exists() for jar in JARS) else None


def test_java_asks_for_a_gift_once(
    publisher: Publisher, rabbitmq: str, worker: StartWorker, card: Issue, sql: Sql, eventually: Eventually
) -> None:
    worker("scheduled-delivery")
    program = packages.need(java, "default-jdk-headless", "librabbitmq-client-java")
    command = [program, "-cp", ":".join(map(str, JARS)), "Publish.java"]

    first, _ = ask_twice(command, EXAMPLES / "java", card(), rabbitmq)

    asked = "SELECT id FROM jobs WHERE source = 'java-shop' AND state = 'succeeded'"
    eventually(lambda: sql(asked))
    assert [row["id"] for row in sql(asked)] == [first]


@pytest.fixture
def told(publisher: Publisher, sql: Sql) -> Callable[[UUID], None]:
    """Tell a fact about a card."""

    def tell(card: UUID) -> None:
        data = json.dumps({"delivery_id": str(UUID(int=2)), "kind": "gift", "channel": "email"})
        sql("INSERT INTO events (type, subject, data) VALUES ('delivery.sent', %s, %s)", card, data)
        outbox.tell(publisher)

    return tell


@pytest.fixture
def consumer(database: str, publisher: Publisher, rabbitmq: str, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Run the example in Python, and give a function that reads what it has printed."""
    log = tmp_path / "events.log"
    with log.open("w") as out:
        running = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "events.py")], env=os.environ | {"RABBITMQ_URL": rabbitmq}, stdout=out
        )
    try:
        yield lambda: log.read_text().splitlines()
    finally:
        running.kill()
        running.wait()


def test_the_consumer_prints_what_happens_and_a_replay_fills_its_gap(
    consumer: Callable[[], list[str]], told: Callable[[UUID], None], rabbitmq: str, eventually: Eventually
) -> None:
    card = uuid4()

    def heard() -> list[str]:
        told(uuid4())
        return consumer()

    said = "delivery.sent {'kind': 'gift', 'channel': 'email', 'delivery_id': '00000000-0000-0000-0000-000000000002'}"
    eventually(heard)  # it has bound its queue
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        told(card)
        channel.queue_unbind("my-shop.gift-card-events", "giftcards.events", "#")
        told(card)
        channel.queue_bind("my-shop.gift-card-events", "giftcards.events", "#")
    told(card)
    eventually(lambda: f"{card} lacks 2 to 2" in consumer())

    asked = ["replay", "--since", "2026-01-01T00:00Z", "--queue", "my-shop.gift-card-events", "--reason", "gap", "-y"]
    result = CliRunner().invoke(app, asked)

    assert result.exit_code == 0, result.output
    eventually(lambda: consumer()[-1:] == [f"{card} 3 {said}"])
    assert [line for line in consumer() if str(card) in line] == [
        f"{card} 1 {said}",
        f"{card} lacks 2 to 2",
        f"{card} 2 {said}",
        f"{card} 3 {said}",
    ]


@pytest.mark.parametrize("file", ["publish.py", "node/publish.mjs", "java/Publish.java", "events.py"])
def test_an_example_is_read_at_a_glance(file: str) -> None:
    assert len((EXAMPLES / file).read_text().splitlines()) < 40
