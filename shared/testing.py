"""For the tests of whoever publishes: a publisher that keeps what it is given, and words to ask it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from .messages import Message
from .sender import Sender
from .wire import Envelope, decode, enveloped

M = TypeVar("M", bound=Message)


class RecordingPublisher(Sender):
    """Stand in for ``Publisher``: nothing leaves, everything is encoded and read back as a worker would.

    Example:
        >>> publisher = RecordingPublisher()
        >>> checkout(order, publisher)
        >>> publisher.only(DeliverGiftCard, gift_card_id=order.card_id, method="email")
    """

    def __init__(self, source: str = "giftcard-jobs") -> None:
        super().__init__(source)
        self.sent: list[Envelope] = []

    def send_many(self, messages: Iterable[Message | Envelope]) -> list[UUID]:
        """Keep many messages, as ``Publisher.send_many`` takes them.

        Raises:
            BadMessage, ValueError: where the real one would, or a worker would reject it.
        """
        read = [decode(envelope.encode()) for envelope in enveloped(messages, self._source)]
        self.sent += read
        return [envelope.id for envelope in read]

    def close(self) -> None:
        """Do nothing: what was sent stays to be looked at."""

    def of(self, message: type[M], **fields: Any) -> list[M]:
        """Give what was sent of a type, with these values in these fields."""
        found = [envelope.message for envelope in self.sent if isinstance(envelope.message, message)]
        return [one for one in found if all(getattr(one, name) == value for name, value in fields.items())]

    def only(self, message: type[M], **fields: Any) -> M:
        """Give the one message of a type with these values.

        Raises:
            AssertionError: there is none, or more than one; says what was sent instead.
        """
        found = self.of(message, **fields)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} times {message.__name__} with {fields}; sent: {self._listed()}")
        return found[0]

    def nothing(self, message: type[Message] = Message) -> None:
        """Make sure that nothing of a type was sent.

        Raises:
            AssertionError: says what was.
        """
        if self.of(message):
            raise AssertionError(f"nothing was to be sent of {message.__name__}; sent: {self._listed()}")

    def _listed(self) -> str:
        return "; ".join(repr(envelope.message) for envelope in self.sent) or "nothing"
