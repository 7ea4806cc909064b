"""The publisher for asyncio: confirmed, pipelined, over a broker that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pika
import pytest

from shared.aio import AsyncPublisher
from shared.errors import PublishError
from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import WIRETAP
from tests.cable import Cable


def waiting(rabbitmq: str, queue: str = "gift-card-expiry") -> int:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def publish(url: str, work: Callable[[AsyncPublisher], Awaitable[Any]], **how: Any) -> Any:
    async def run() -> Any:
        async with AsyncPublisher(url, **how) as publisher:
            return await work(publisher)

    return asyncio.run(run())


def messages(count: int) -> list[ExpireGiftCard]:
    return [ExpireGiftCard(gift_card_id=uuid4()) for _ in range(count)]


def test_many_messages_are_in_the_queue_when_it_returns(publisher: Publisher, rabbitmq: str) -> None:
    ids = publish(rabbitmq, lambda to: to.send_many(messages(1200)))

    assert len(set(ids)) == 1200
    assert waiting(rabbitmq) == 1200


def test_an_urgent_message_goes_to_the_queue_of_its_own(publisher: Publisher, rabbitmq: str) -> None:
    publish(rabbitmq, lambda to: to.send(messages(1)[0], priority="urgent"))

    assert waiting(rabbitmq, "gift-card-expiry.urgent") == 1


def test_a_missing_queue_is_an_error_that_says_so(publisher: Publisher, rabbitmq: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        connection.channel().queue_delete("gift-card-expiry")
        connection.channel().queue_delete(WIRETAP)

    with pytest.raises(PublishError, match="1 of 1 messages not published: no such queue"):
        publish(rabbitmq, lambda to: to.send(messages(1)[0]))


def test_a_broker_that_cannot_be_reached_is_an_error_in_time() -> None:
    with pytest.raises(PublishError, match="the broker is away"):
        publish("amqp://guest:guest@127.0.0.1:1/", lambda to: to.send(messages(1)[0]), timeout_s=0.5)


def test_a_line_that_is_cut_between_two_messages_is_laid_again(publisher: Publisher, rabbitmq: str) -> None:
    with Cable(rabbitmq) as cable:

        async def twice(to: AsyncPublisher) -> None:
            await to.send(messages(1)[0])
            cable.cut()
            cable.mend()
            await to.send(messages(1)[0])

        publish(cable.url, twice)

    assert waiting(rabbitmq) == 2
