"""The demonstration's upstream: the doors it has, and what must come of all that it asks for."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pika
import requests

from deploy.local.demo.people import Person, person
from deploy.local.demo.shop import Shop
from shared.messages import Message
from shared.publisher import Publisher
from shared.wire import Envelope

SOURCE = "demo"


@dataclass
class Case:
    """One card and what its people must have got at the end: number of mails and texts, and to whom never."""

    story: str
    card_id: UUID
    mails: int = 0
    texts: int = 0
    to: tuple[str, ...] = ()
    not_before: datetime | None = None


@dataclass
class Upstream:
    """The doors that upstream has, and what it has done through them."""

    shop: Shop
    publisher: Publisher
    amqp_url: str
    outside_url: str
    chance: random.Random
    cases: list[Case] = field(default_factory=list)
    published: int = 0
    _people: int = 0

    def send(self, message: Message, **how: Any) -> None:
        """Publish one message."""
        self.publisher.send(message, **how)
        self.published += 1

    def send_many(self, messages: Iterable[Message | Envelope]) -> None:
        """Publish many messages, pipelined."""
        own = [replace(m, source=SOURCE) if isinstance(m, Envelope) else m for m in messages]
        self.published += len(self.publisher.send_many(own))

    def someone(self) -> Person:
        """Give the next person."""
        self._people += 1
        return person(self._people, self.chance)

    def people(self, number: int) -> Iterator[Person]:
        """Give the next persons."""
        return (self.someone() for _ in range(number))

    def case(self, story: str, to: Person, card_id: UUID, **expected: object) -> UUID:
        """Note what must come of a card."""
        self.cases.append(Case(story, card_id, to=(to.email, to.phone), **expected))  # type: ignore[arg-type]
        return card_id

    def misbehave(self, **rule: object) -> None:
        """Make the outside world misbehave (tests/outside/behaviour.py)."""
        requests.post(f"{self.outside_url}/behaviour", data=json.dumps(rule), timeout=10).raise_for_status()

    def publish_raw(self, queue: str, bodies: list[bytes]) -> None:
        """Publish bodies as another program would, in whatever shape."""
        connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("", queue, body, mandatory=True)
            self.published += 1
        connection.close()
