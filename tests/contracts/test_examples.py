"""The examples in other languages do what they say, on a real broker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from services.scheduler import outbox
from shared.publisher import Publisher
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


@pytest.mark.skipif(not shutil.which("npm"), reason="no Node.js here")
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
    run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", cwd=tmp_path / "node")
    worker("scheduled-delivery")

    first, _ = ask_twice(["node", "publish.mjs"], tmp_path / "node", card(), rabbitmq)

    asked = "SELECT id FROM jobs WHERE source = 'node-shop' AND state = 'succeeded'"
    eventually(lambda: sql(asked))
    assert [row["id"] for row in sql(asked)] == [first]


@pytest.mark.skipif(
    not shutil.which("java") or not all(jar.exists() for jar in JARS),
    reason="no Java here, or no RabbitMQ client for it (Debian: librabbitmq-client-java)",
)
def test_java_asks_for_a_gift_once(
    publisher: Publisher, rabbitmq: str, worker: StartWorker, card: Issue, sql: Sql, eventually: Eventually
) -> None:
    worker("scheduled-delivery")
    command = ["java", "-cp", ":".join(map(str, JARS)), "Publish.java"]

    first, _ = ask_twice(command, EXAMPLES / "java", card(), rabbitmq)

    asked = "SELECT id FROM jobs WHERE source = 'java-shop' AND state = 'succeeded'"
    eventually(lambda: sql(asked))
    assert [row["id"] for row in sql(asked)] == [first]


def test_the_consumer_prints_what_happens(
    database: str, publisher: Publisher, rabbitmq: str, sql: Sql, eventually: Eventually, tmp_path: Path
) -> None:
    log = tmp_path / "events.log"
    with log.open("w") as out:
        consumer = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "events.py")], env=os.environ | {"RABBITMQ_URL": rabbitmq}, stdout=out
        )
    try:

        def told() -> bool:
            data = json.dumps({"delivery_id": str(UUID(int=2)), "kind": "gift", "channel": "email"})
            sql("INSERT INTO events (type, subject, data) VALUES ('delivery.sent', %s, %s)", UUID(int=1), data)
            outbox.tell(publisher)
            return f"{UUID(int=1)} delivery.sent" in log.read_text()

        eventually(told, 30)
    finally:
        consumer.kill()
        consumer.wait()


@pytest.mark.parametrize("file", ["node/publish.mjs", "java/Publish.java", "events.py"])
def test_an_example_is_read_at_a_glance(file: str) -> None:
    assert len((EXAMPLES / file).read_text().splitlines()) < 40
