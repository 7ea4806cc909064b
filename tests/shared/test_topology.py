"""Every limit of a queue is one that the broker knows, and a queue with other limits is named at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pika
import pytest

from deploy.local import management
from services.scheduler.relay import declare_queues
from shared.errors import QueueMismatch
from shared.topology import arguments, dead, declare, lanes
from tests import servers
from tests.kinds import Setting, StartProcess

QUEUE = "gift-card-expiry"


@pytest.fixture
def connection(rabbitmq: str) -> Iterator[pika.BlockingConnection]:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        yield connection


def other(value: object) -> object:
    """Give a value that a queue of ours does not have."""
    words = {"quorum": "classic", "classic": "quorum", "reject-publish": "drop-head", "at-least-once": "at-most-once"}
    return value - 1 if isinstance(value, int) else words.get(str(value), f"not{value}")


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_the_broker_knows_every_argument_that_a_queue_is_declared_with(
    queue_type: str, setting: Setting, connection: pika.BlockingConnection
) -> None:
    """A misspelt one would be taken without a word, and then compared with nothing."""
    setting(queue_type=queue_type)
    declare(connection.channel(), QUEUE)

    for name, value in arguments(QUEUE).items():
        changed = arguments(QUEUE) | {name: other(value)}
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match=rf"(?s)406.*{name}|{name}"):
            connection.channel().queue_declare(QUEUE, durable=True, arguments=changed)


def test_what_the_broker_says_of_a_queue_is_what_it_was_declared_with(
    rabbitmq: str, connection: pika.BlockingConnection
) -> None:
    declare_queues()

    vhost = quote(urlsplit(rabbitmq).path.removeprefix("/"), safe="")
    told = {
        q["name"]: q
        for q in management.call(
            servers.rabbitmq_server()[1], "GET", f"queues/{vhost}?columns=name,arguments,durable,type"
        )
    }
    for queue in lanes():
        assert told[queue] == {"name": queue, "arguments": arguments(queue), "durable": True, "type": "quorum"}
        assert told[dead(queue)]["arguments"] == {"x-queue-type": "quorum"}, "what is dead never expires"


def test_a_queue_with_other_limits_is_named_with_the_way_out(connection: pika.BlockingConnection) -> None:
    connection.channel().queue_declare(QUEUE, durable=True, arguments=arguments(QUEUE) | {"x-max-length": 7})

    with pytest.raises(QueueMismatch, match=rf"{QUEUE} .*'x-max-length': 1000000.*delete it") as caught:
        declare(connection.channel(), QUEUE)

    assert "inequivalent arg 'x-max-length'" in str(caught.value), "in the broker's own words"


def test_a_worker_ends_at_once_over_a_queue_that_it_could_never_consume(
    connection: pika.BlockingConnection, process: StartProcess, rabbitmq: str, tmp_path: Any
) -> None:
    connection.channel().queue_delete(QUEUE)
    connection.channel().queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "classic"})

    # As a user who may declare: one who may not is spared by the scheduler, which says the same of the queue.
    assert process("expiry", JOBS_RABBITMQ_URL=rabbitmq).wait(60) != 0

    assert f"the queue {QUEUE} is on the broker with other arguments" in (tmp_path / "expiry.log").read_text()
