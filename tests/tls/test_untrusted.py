"""A server that nobody vouches for, or under another name, gets nothing: we say what to do, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from services.delivery import smtp
from shared.aio import AsyncPublisher
from shared.errors import PublishError
from shared.messages import ExpireGiftCard, SendGiftCardEmail
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.kinds import Deliver, Eventually, Issue, JobOf, Setting, Sql, StartProcess
from tests.outside import Outside
from tests.tls.conftest import Secured, elsewhere

pytestmark = pytest.mark.xdist_group("tls")


@dataclass(frozen=True)
class Distrust:
    """What is wrong about a server, as variables of whoever connects, and what must then be said."""

    says: str
    broker: dict[str, str]
    database: dict[str, str]
    relay: dict[str, str]


@pytest.fixture(params=["authority", "host"])
def distrust(request: pytest.FixtureRequest, secured: Secured, rabbitmq: str, database: str) -> Distrust:
    if request.param == "host":
        return Distrust(
            says="call the server by the name in its certificate",
            broker={"JOBS_RABBITMQ_URL": elsewhere(rabbitmq)},
            database={"JOBS_DATABASE_URL": elsewhere(database)},
            relay={"JOBS_SMTP_HOST": "127.0.0.1"},
        )
    return Distrust(
        says="name the CA that vouches for it in ",
        broker={"JOBS_RABBITMQ_URL": rabbitmq, "SSL_CERT_FILE": str(secured.stranger)},
        database={"JOBS_DATABASE_URL": database.replace("ca.pem", "stranger%2Fca.pem")},
        relay={"SSL_CERT_FILE": str(secured.stranger)},
    )


def test_a_publisher_says_what_to_do_and_the_same_message_goes_through_later(
    publisher: Publisher, distrust: Distrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = Envelope(ExpireGiftCard(gift_card_id=uuid4()))

    with monkeypatch.context() as wrong:
        for name, value in distrust.broker.items():
            wrong.setenv(name, value)
        with (
            Publisher(distrust.broker["JOBS_RABBITMQ_URL"], timeout_s=2) as other,
            pytest.raises(PublishError, match=distrust.says),
        ):
            other.send_many([message])
        with pytest.raises(PublishError, match=distrust.says):
            asyncio.run(_send(distrust.broker["JOBS_RABBITMQ_URL"], message))

    assert publisher.send_many([message]) == [message.id]


async def _send(url: str, message: Envelope) -> None:
    async with AsyncPublisher(url, timeout_s=2) as publisher:
        await publisher.send_many([message])


@pytest.mark.parametrize("outside", ["starttls"], indirect=True)
@pytest.mark.parametrize("server", ["broker", "database"])
def test_a_worker_says_what_to_do_and_another_does_its_job(
    server: str,
    process: StartProcess,
    publisher: Publisher,
    distrust: Distrust,
    card: Issue,
    job: JobOf,
    outside: Outside,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    lost = process("delivery", **getattr(distrust, server))
    job_id = publisher.send(SendGiftCardEmail(gift_card_id=card()))
    eventually(lambda: distrust.says in (tmp_path / "delivery.log").read_text())
    assert outside.messages() == []
    os.killpg(lost.pid, signal.SIGKILL)

    process("delivery")

    eventually(outside.messages)
    eventually(lambda: job(job_id)["state"] == "succeeded")
    assert len(outside.messages()) == 1


@pytest.mark.parametrize("server", ["broker", "database"])
def test_a_scheduler_says_what_to_do_and_another_publishes_its_rows(
    server: str,
    process: StartProcess,
    publisher: Publisher,
    distrust: Distrust,
    sql: Sql,
    job: JobOf,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    row = sql("SELECT enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', gen_random_uuid())) AS id")
    lost = process("scheduler", **getattr(distrust, server))
    eventually(lambda: distrust.says in (tmp_path / "scheduler.log").read_text())
    assert job(row[0]["id"])["state"] == "scheduled"
    os.killpg(lost.pid, signal.SIGKILL)

    process("scheduler")

    eventually(lambda: job(row[0]["id"])["state"] == "queued")


def test_a_relay_opens_its_breaker_with_what_to_do_and_the_mail_goes_out_later(
    deliver: Deliver,
    distrust: Distrust,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
    card: Issue,
    job: JobOf,
    sql: Sql,
    outside: Outside,
) -> None:
    gift = Envelope(SendGiftCardEmail(gift_card_id=card()))
    with monkeypatch.context() as wrong:
        for name, value in distrust.relay.items():
            wrong.setenv(name, value)
        setting()
        deliver(gift)
    setting()
    assert (job(gift.id)["state"], job(gift.id)["reason"], job(gift.id)["attempt"]) == ("scheduled", "sender", 0)
    assert distrust.says in sql("SELECT said FROM breakers")[0]["said"]
    assert outside.messages() == []

    sql("UPDATE breakers SET probe_at = clock_timestamp()")
    sql("UPDATE jobs SET run_at = clock_timestamp()")
    deliver(gift)

    assert len(outside.messages()) == 1
    assert job(gift.id)["state"] == "succeeded"
    smtp.close()


def test_the_console_says_what_to_do(distrust: Distrust) -> None:
    command = [sys.executable, "-m", "services.console.cli", "counts"]

    done = subprocess.run(command, env=os.environ | distrust.database, capture_output=True, text=True)

    assert done.returncode == 1
    assert distrust.says in " ".join(done.stderr.split())
