"""Publishing: confirmed, pipelined, from any thread, through lost connections, and never silently in vain."""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pika
import pytest

from deploy.local import management
from shared.errors import PublishError
from shared.messages import ExpireGiftCard, PruneHistory, SendGiftCardEmail
from shared.packets import Packet
from shared.publisher import WINDOW, Publisher
from shared.wire import Envelope
from tests import servers
from tests.cable import Cable
from tests.kinds import Eventually

QUEUE = "gift-card-expiry"


def message() -> ExpireGiftCard:
    return ExpireGiftCard(gift_card_id=uuid4())


def bodies(url: str, queue: str = QUEUE) -> list[dict[str, Any]]:
    """Take everything out of a queue."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        deliveries = connection.channel().consume(queue, auto_ack=True, inactivity_timeout=0.3)
        return [json.loads(body) for _, _, body in takewhile(lambda delivery: delivery[0], deliveries)]


def close_all_connections(url: str) -> int:
    """Close every connection to a virtual host, as an operator can; gives how many there were."""
    _, api = servers.rabbitmq_server()
    vhost = urlsplit(url).path.lstrip("/")
    names = [c["name"] for c in management.call(api, "GET", f"vhosts/{vhost}/connections")]
    for name in names:
        management.call(api, "DELETE", "connections/" + name.replace(" ", "%20").replace(">", "%3E"))
    return len(names)


@contextmanager
def silent_server() -> Iterator[str]:
    """Listen like a broker and never say a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"amqp://127.0.0.1:{server.getsockname()[1]}"


def test_what_was_sent_is_in_the_queue(publisher: Publisher, rabbitmq: str) -> None:
    sent = message()

    job_id = publisher.send(sent, dedupe_key="once", priority="bulk")

    (document,) = bodies(rabbitmq)
    assert document["id"] == str(job_id)
    assert document["data"] == {"gift_card_id": str(sent.gift_card_id)}
    assert (document["source"], document["dedupekey"], document["priority"]) == ("test", "once", "bulk")


def test_an_urgent_message_goes_to_the_urgent_queue(publisher: Publisher, rabbitmq: str) -> None:
    publisher.send(message(), priority="urgent")

    assert bodies(rabbitmq) == []
    assert len(bodies(rabbitmq, f"{QUEUE}.urgent")) == 1


def test_a_message_outlives_a_restart_of_the_broker(publisher: Publisher, rabbitmq: str) -> None:
    publisher.send(message())

    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        _, properties, _ = connection.channel().basic_get(QUEUE, auto_ack=True)
    assert properties is not None
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/cloudevents+json"


def test_many_are_sent_in_order_and_more_than_fit_in_the_window(publisher: Publisher, rabbitmq: str) -> None:
    messages = [message() for _ in range(WINDOW + 500)]

    ids = publisher.send_many(messages)

    assert [document["id"] for document in bodies(rabbitmq)] == [str(job_id) for job_id in ids]


def test_no_message_is_sent_at_once(rabbitmq: str) -> None:
    with Publisher("amqp://127.0.0.1:1") as publisher:
        assert publisher.send_many([]) == []


def test_a_message_without_a_queue_says_so(rabbitmq: str) -> None:
    with (
        Publisher(rabbitmq) as publisher,
        pytest.raises(PublishError, match="no queue 'email-delivery' on this broker"),
    ):
        publisher.send(SendGiftCardEmail(gift_card_id=uuid4()))


def test_of_many_messages_the_ones_without_a_queue_are_counted(publisher: Publisher, rabbitmq: str) -> None:
    packets = [Packet("nowhere", b"{}", "1"), Packet(QUEUE, b"{}", "2"), Packet("nowhere", b"{}", "3")]

    publisher.publish(packets)

    assert [bool(packet.error) for packet in packets] == [True, False, True]
    assert [packet.returned for packet in packets] == [True, False, True]
    assert len(bodies(rabbitmq)) == 1


def test_a_full_queue_says_so(rabbitmq: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        connection.channel().queue_declare("maintenance", durable=True, arguments=arguments)

    with Publisher(rabbitmq) as publisher:
        publisher.send(PruneHistory())
        with pytest.raises(PublishError, match="the broker refused it for 'maintenance': the queue is full"):
            publisher.send(PruneHistory())


def test_where_nothing_listens_the_error_comes_in_bounded_time() -> None:
    started = time.monotonic()

    with Publisher("amqp://127.0.0.1:1", timeout_s=0.5) as publisher:
        assert not publisher.connected()
        with pytest.raises(PublishError, match="1 of 1 messages not published: not confirmed in time"):
            publisher.send(message())

    assert time.monotonic() - started < 20


def test_where_nobody_answers_the_error_comes_in_bounded_time() -> None:
    with silent_server() as url, Publisher(url, timeout_s=0.5) as publisher, pytest.raises(PublishError):
        publisher.send(message())


def test_a_broker_that_comes_back_gets_what_is_waited_for(publisher: Publisher, rabbitmq: str) -> None:
    with Cable(rabbitmq, mended=False) as cable, Publisher(cable.url, timeout_s=30) as early:
        with ThreadPoolExecutor() as threads:
            sending = threads.submit(early.send, message())
            cable.mend()

        assert [document["id"] for document in bodies(rabbitmq)] == [str(sending.result())]


def test_an_operator_may_close_its_connections(publisher: Publisher, rabbitmq: str, eventually: Eventually) -> None:
    ids = [publisher.send(message())]
    eventually(lambda: close_all_connections(rabbitmq))

    ids.append(publisher.send(message()))

    assert {document["id"] for document in bodies(rabbitmq)} == {str(job_id) for job_id in ids}


def test_nothing_confirmed_is_lost_while_the_cable_is_cut(publisher: Publisher, rabbitmq: str) -> None:
    with Cable(rabbitmq) as cable, Publisher(cable.url, timeout_s=30) as shaken, ThreadPoolExecutor(3) as threads:
        sending = [threads.submit(shaken.send_many, [message() for _ in range(1000)]) for _ in range(3)]
        for _ in range(3):
            cable.cut()
            cable.mend()
        confirmed = {str(job_id) for future in sending for job_id in future.result()}

    assert confirmed == {document["id"] for document in bodies(rabbitmq)}


def test_a_channel_that_the_broker_closes_is_opened_again(rabbitmq: str, publisher: Publisher) -> None:
    with Publisher(rabbitmq, timeout_s=1) as hurt, ThreadPoolExecutor(4) as threads:
        wrong = threads.submit(hurt.publish, [Packet("k", b"{}", "1", exchange="no-such-exchange")])
        for _ in range(20):  # meanwhile others publish on the channel that is being closed
            with suppress(PublishError):
                hurt.send(message())

        assert wrong.result()[0].error
        assert hurt.send(message())


def test_many_threads_share_one_publisher(publisher: Publisher, rabbitmq: str) -> None:
    with ThreadPoolExecutor(16) as threads:
        ids = list(threads.map(lambda _: publisher.send(message()), range(200)))

    assert {document["id"] for document in bodies(rabbitmq)} == {str(job_id) for job_id in ids}
    _, api = servers.rabbitmq_server()
    vhost = urlsplit(rabbitmq).path.lstrip("/")
    assert len(management.call(api, "GET", f"vhosts/{vhost}/connections")) <= 1


def test_a_publisher_made_and_used_before_a_fork_works_after_it(publisher: Publisher, rabbitmq: str) -> None:
    publisher.send(message())
    context = multiprocessing.get_context("fork")
    answers: Any = context.Queue()

    child = context.Process(target=lambda: answers.put(str(publisher.send(message()))))
    child.start()
    in_child = answers.get(timeout=30)
    child.join()
    in_parent = publisher.send(message())

    assert {in_child, str(in_parent)} < {document["id"] for document in bodies(rabbitmq)}


def test_a_closed_publisher_refuses(rabbitmq: str) -> None:
    publisher = Publisher(rabbitmq)
    publisher.close()

    with pytest.raises(PublishError, match="closed: make a new one"):
        publisher.send(message())


@pytest.mark.parametrize("open_first", [True, False])
def test_closing_leaves_no_thread_and_no_connection(
    rabbitmq: str, open_first: bool, publisher: Publisher, eventually: Eventually
) -> None:
    closed = Publisher(rabbitmq)
    if open_first:
        closed.send(message())
    else:
        closed.connected()  # it has begun to connect

    closed.close()

    assert closed._thread is not None
    assert not closed._thread.is_alive()


def test_a_repeated_envelope_has_the_same_id(publisher: Publisher, rabbitmq: str) -> None:
    envelope = Envelope(message())

    publisher.send_many([envelope])
    publisher.send_many([envelope])

    assert [document["id"] for document in bodies(rabbitmq)] == [str(envelope.id)] * 2


def test_making_a_publisher_opens_nothing() -> None:
    publisher = Publisher("amqp://127.0.0.1:1")

    assert publisher._thread is None
    assert publisher._connection is None
