"""Check an envelope before Dramatiq sees it: queue and actor are what we read and know, never what it says."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any
from uuid import uuid4

from dramatiq import Message

from shared.errors import BadMessage, UnknownMessage
from shared.wire import Envelope, decode_from, row_of

REFUSE = "refuse"  # the actor that writes down what is not a message
AGAIN = 1  # where an actor's arguments say that its message was delivered before


def checked(
    queue: str, actors: Container[str], body: bytes, headers: Mapping[str, Any] | None, again: bool
) -> Message[Any]:
    """Make a message for Dramatiq out of a body: for the job's actor, or for the one that writes down what is bad.

    Parameters:
        queue: of RabbitMQ, from which it was read.
        actors: the names of those that this process has.
        again: it was delivered before.
    """
    base = queue.removesuffix(".urgent")
    try:
        envelope = decode_from(base, body, headers)
        return _message(queue, _actor(queue, actors, envelope), str(envelope.id), [envelope], again)
    except BadMessage as error:
        return _message(queue, f"{REFUSE}@{queue}", str(uuid4()), base, error, body)


def _actor(queue: str, actors: Container[str], envelope: Envelope) -> str:
    name = f"{envelope.message.name}@{queue}"
    if name not in actors:
        raise UnknownMessage(f"no worker of {queue} knows {envelope.message.name}", row_of(envelope))
    return name


def _message(queue: str, actor: str, message_id: str, *args: object) -> Message[Any]:
    return Message(queue, actor, args, kwargs={}, options={}, message_id=message_id)
