"""How a message looks on the wire: CloudEvents 1.0 JSON out; CloudEvents, or Dramatiq's own JSON, in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import BadMessage, UnknownMessage
from .fields import Instant
from .ids import uuid7
from .messages import MAX_BODY_BYTES, MESSAGES, Message, Priority
from .traceparent import Producing

CONTENT_TYPE = "application/cloudevents+json"
WIRETAP = "giftcards.wiretap"  # the stream that keeps a copy of each message from outside, however its queue fares
COPIED: dict[str, Any] = {"BCC": [WIRETAP]}  # RabbitMQ's own header for it: taken off before anybody reads the message
M = TypeVar("M", bound=BaseModel)
_DRAMATIQ_FIELDS = {"queue_name", "actor_name", "args", "kwargs", "options", "message_id", "message_timestamp"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and how it is to be run.

    ``run_at`` is aware UTC, None means now; ``dedupe_key`` is unique for ever; ``source`` says who sent it.
    """

    message: Message
    id: UUID = field(default_factory=uuid7)
    run_at: datetime | None = None
    priority: Priority = Priority.NORMAL
    dedupe_key: str | None = None
    traceparent: str | None = None
    source: str = "giftcard-jobs"

    def __post_init__(self) -> None:
        """Refuse a time that means another instant on every machine."""
        if self.run_at is not None and self.run_at.tzinfo is None:
            raise ValueError("run_at has no time zone: use datetime.now(UTC) or a zoneinfo.ZoneInfo")

    @property
    def routing_key(self) -> str:
        """Name the queue that carries it: urgent jobs have a queue of their own beside the normal one."""
        return lane(self.message.queue, self.priority)

    def encode(self) -> bytes:
        """Write the CloudEvents document.

        Raises:
            BadMessage: when it would be over 64 KiB.
        """
        document = {
            "specversion": "1.0",
            "id": str(self.id),
            "source": self.source,
            "type": self.message.name,
            "time": datetime.now(UTC).isoformat(),
            "datacontenttype": "application/json",
            "priority": self.priority.value,
            "runat": self.run_at.isoformat() if self.run_at else None,
            "dedupekey": self.dedupe_key,
            "traceparent": self.traceparent,
            "data": self.message.model_dump(mode="json", exclude_none=True),
        }
        body = json.dumps({name: value for name, value in document.items() if value is not None}).encode()
        check_size(body)
        return body


def enveloped(messages: Iterable[Message | Envelope], source: str) -> list[Envelope]:
    """Put messages into envelopes of a source; what is in one stays as it is."""
    return [m if isinstance(m, Envelope) else Envelope(m, source=source) for m in messages]


def traced(envelope: Envelope, spans: Producing) -> Envelope:
    """Begin the span of an envelope that goes out, and let it carry its trace."""
    message = envelope.message
    traceparent = spans.begin(envelope.routing_key, message.name, envelope.id, envelope.traceparent)
    return envelope if traceparent == envelope.traceparent else replace(envelope, traceparent=traceparent)


def lane(queue: str, priority: Priority) -> str:
    """Name the RabbitMQ queue for a priority; bulk rows share the normal one and wait in the table for room."""
    return f"{queue}.urgent" if priority is Priority.URGENT else queue


def check_size(body: bytes) -> None:
    """Refuse a body over 64 KiB.

    Raises:
        BadMessage: with its size and the limit.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadMessage("too_large", f"the body has {len(body)} bytes, over {MAX_BODY_BYTES}: send ids, not content")


def _storable(text: str) -> str:
    """Refuse what PostgreSQL cannot keep as text: NUL and lone surrogates."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("has a NUL or half a character in it")
    return text


_Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]


class _CloudEvent(BaseModel):
    model_config = ConfigDict(extra="ignore")

    specversion: str
    id: _Text
    source: _Text
    type: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:/-]+$")]
    data: dict[str, Any] = {}
    runat: Instant | None = None
    priority: Annotated[Priority, BeforeValidator(lambda given: Priority(0 if given is None else given))] = (
        Priority.NORMAL
    )
    dedupekey: _Text | None = None
    traceparent: Annotated[str, Field(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")] | None = None


def decode(body: bytes, headers: Mapping[str, Any] | None = None) -> Envelope:
    """Read a message that came over the wire.

    Parameters:
        body: a CloudEvents document, Dramatiq's 7-field JSON, or bare data with ``cloudEvents:*`` AMQP headers.

    Raises:
        UnknownMessage: nobody here knows the name; newer workers may.
        BadMessage: ``undecodable``, ``too_large`` or ``invalid``, with what to mend.
    """
    check_size(body)
    event = _event(_document(body, headers or {}))
    if event.type not in MESSAGES:
        raise UnknownMessage(f"no message is called {event.type!r}: use one of {', '.join(MESSAGES)}", row_of(event))
    message = _validated(MESSAGES[event.type], event.data)
    return Envelope(
        message=message,
        id=_uuid(event),
        run_at=event.runat.astimezone(UTC) if event.runat else message.due_at(),
        priority=event.priority,
        dedupe_key=event.dedupekey,
        traceparent=event.traceparent,
        source=event.source,
    )


def decode_from(queue: str, body: bytes, headers: Mapping[str, Any] | None = None) -> Envelope:
    """Read a message that came over a queue.

    Raises:
        BadMessage: as ``decode``, or ``wrong_queue``.
    """
    envelope = decode(body, headers)
    if envelope.message.queue != queue:
        raise BadMessage("wrong_queue", f"{envelope.message.name} belongs on the queue {envelope.message.queue}")
    return envelope


def _document(body: bytes, headers: Mapping[str, Any]) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadMessage("undecodable", f"the body is not JSON ({type(error).__name__}): send CloudEvents") from None
    if not isinstance(document, dict):
        raise BadMessage("undecodable", f"the body is a JSON {type(document).__name__}: send a CloudEvents object")
    attributes = {
        name[12:]: value for name, value in headers.items() if name.startswith(("cloudEvents:", "cloudEvents_"))
    }
    return {**attributes, "data": document} if attributes else document


def _event(document: dict[str, Any]) -> _CloudEvent:
    if document.keys() >= {"actor_name", "kwargs", "message_id"}:
        document = _from_dramatiq(document)
    return _validated(_CloudEvent, document)


def _from_dramatiq(document: dict[str, Any]) -> dict[str, Any]:
    """Take the name, the keyword arguments and the id; queue and options from outside are dropped on purpose."""
    if surplus := document.keys() - _DRAMATIQ_FIELDS:
        named = sorted(
            repr(name) if name.isidentifier() and name.isascii() else "with a name of others" for name in surplus
        )
        raise BadMessage("invalid", f"Dramatiq's JSON has no field {', '.join(named)[:200]}")
    if document.get("args"):
        raise BadMessage("invalid", "args: send keyword arguments, one for each field of the message")
    return {
        "specversion": "1.0",
        "id": document["message_id"],
        "source": "dramatiq",
        "type": document["actor_name"],
        "data": document["kwargs"],
    }


def _validated(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BadMessage("invalid", explain(error)) from None


def explain(error: ValidationError) -> str:
    """Say which fields are wrong and why, without repeating a value: it may be personal."""
    problems = (f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors(include_input=False))
    return "; ".join(problems)[:1000]


def _uuid(event: _CloudEvent) -> UUID:
    """Keep a UUID as it is; any other id becomes one that the same source and id always give."""
    try:
        return UUID(event.id)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{event.source}#{event.id}")


def row_of(sent: Envelope | _CloudEvent) -> dict[str, Any]:
    """Give what is kept of a message that nobody here can run, by column of ``jobs``."""
    if isinstance(sent, Envelope):
        sent = _CloudEvent.model_validate(json.loads(sent.encode()))
    return {
        "id": _uuid(sent),
        "name": sent.type,
        "data": sent.data,
        "run_at": sent.runat,
        "priority": sent.priority,
        "dedupe_key": sent.dedupekey,
        "traceparent": sent.traceparent,
        "source": sent.source,
    }
