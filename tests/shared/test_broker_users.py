"""Each user of the broker may do what its service does and nothing else: what is forbidden is tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from deploy.local import state
from shared import topology
from shared.broker_users import PERMISSIONS, WORKERS, page
from shared.errors import QueueMissing
from shared.events import EXCHANGE
from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from tests import servers
from tests.kinds import Eventually, Setting, Sql, StartProcess

QUEUE = "gift-card-expiry"


def declare(channel: Any) -> None:
    channel.queue_declare("mine")


def publish(channel: Any) -> None:
    channel.confirm_delivery()
    channel.basic_publish("", QUEUE, b"{}")


def tell(channel: Any) -> None:
    channel.confirm_delivery()
    channel.basic_publish(EXCHANGE, "gift_card.expired", b"{}")


def read(queue: str) -> Callable[[Any], None]:
    return lambda channel: channel.basic_get(queue)


def purge(channel: Any) -> None:
    channel.queue_purge("email-delivery")


def delete(channel: Any) -> None:
    channel.queue_delete(QUEUE)


def unbind(channel: Any) -> None:
    channel.exchange_delete(EXCHANGE)


FORBIDDEN = [
    *[(user, act) for user in PERMISSIONS for act in (declare,)],
    *[(user, act) for user in PERMISSIONS if user != "topology" for act in (delete, unbind)],
    *[(user, act) for user in WORKERS for act in (publish, tell)],
    *[(user, read(f"{QUEUE}.XQ")) for user in PERMISSIONS],
    *[(user, read(QUEUE)) for user in ("delivery", "cleanup", "scheduler", "upstream")],
    *[(user, read("email-delivery.urgent")) for user in ("expiry", "cleanup", "scheduler", "upstream")],
    *[(user, purge) for user in ("expiry", "cleanup", "scheduler", "upstream")],
    ("upstream", tell),
    ("console", tell),
    ("topology", tell),
]


def channel_of(url: str, user: str) -> Any:
    return pika.BlockingConnection(pika.URLParameters(servers.as_broker_user(url, user))).channel()


def test_what_a_user_must_not_do_is_refused(rabbitmq: str, publisher: Publisher) -> None:
    for user, act in FORBIDDEN:
        channel = channel_of(rabbitmq, user)
        with pytest.raises(ChannelClosedByBroker) as refused:
            act(channel)
        channel.connection.close()
        assert refused.value.reply_code == topology.ACCESS_REFUSED, (user, act)


def test_topology_may_make_what_the_scheduler_makes(rabbitmq: str, setting: Setting) -> None:
    from services.scheduler.relay import declare_queues

    setting(
        rabbitmq_url=servers.as_broker_user(rabbitmq, "scheduler"),
        topology_url=servers.as_broker_user(rabbitmq, "topology"),
    )

    declare_queues()

    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        for queue in topology.lanes():
            connection.channel().queue_declare(queue, passive=True)


def test_upstream_publishes_to_a_queue(rabbitmq: str, publisher: Publisher) -> None:
    with Publisher(servers.as_broker_user(rabbitmq, "upstream")) as upstream:
        upstream.send(ExpireGiftCard(gift_card_id=uuid4()))


def test_a_worker_whose_queue_is_not_there_is_told_who_makes_it(rabbitmq: str) -> None:
    with (
        pika.BlockingConnection(pika.URLParameters(servers.as_broker_user(rabbitmq, "expiry"))) as connection,
        pytest.raises(QueueMissing, match=r"start a scheduler.*JOBS_TOPOLOGY_URL"),
    ):
        topology.ensure(connection, QUEUE)


def test_a_worker_waits_for_its_queue_and_begins_when_it_is_there(
    process: StartProcess, rabbitmq: str, sql: Sql, eventually: Eventually, tmp_path: Path
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        for queue in topology.lanes():
            connection.channel().queue_delete(queue)
    process("expiry")
    eventually(lambda: "queue_missing" in (tmp_path / "expiry.log").read_text())

    process("scheduler")

    with Publisher(rabbitmq) as publisher:
        eventually(lambda: publisher.connected())
        job_id = sql("SELECT enqueue_job('expire_due_gift_cards') AS id")[0]["id"]
        eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state IN ('succeeded', 'skipped')", job_id))


def test_the_table_of_permissions_on_the_page_is_what_is_given() -> None:
    assert page() in (state.ROOT / "docs/operations.md").read_text(), (
        "docs/operations.md shows other permissions: paste what 'shared.broker_users.page()' gives"
    )
