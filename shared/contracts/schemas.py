"""JSON Schema of every message and event, made from their models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from shared.events import EVENTS, EXCHANGE, EventEnvelope
from shared.messages import MESSAGES
from shared.wire import _CloudEvent

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def contract() -> dict[str, dict[str, Any]]:
    """Give all that others rely on: each message with its queue, each event, and the envelope around either."""
    return {
        "messages": {name: {"queue": m.queue, "schema": schema(m)} for name, m in MESSAGES.items()},
        "events": {name: {"exchange": EXCHANGE, "schema": schema(event)} for name, event in EVENTS.items()},
        "envelope": {"cloudevent": {"schema": schema(_CloudEvent)}},
        "event_envelope": {"event": {"schema": schema(EventEnvelope)}},
    }


def schema(model: type[BaseModel]) -> Schema:
    """Describe a model in one piece, without the titles that pydantic derives from names."""
    described = model.model_json_schema()
    plain: Schema = _plain(described, described.pop("$defs", {}))
    return plain


def document(name: str, kind: str, described: Schema) -> Schema:
    """Make a schema of its own file of a described model."""
    return {"$schema": DIALECT, "$id": f"urn:giftcard-jobs:{kind}:{name}", **described}


def _plain(part: Any, definitions: Schema) -> Any:
    if isinstance(part, list):
        return [_plain(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if name := part.get("$ref"):
        part = definitions[name.rpartition("/")[2]] | {word: value for word, value in part.items() if word != "$ref"}
    # A title is a text; a field that is called title has a schema.
    return {
        word: _plain(value, definitions) for word, value in part.items() if word != "title" or isinstance(value, dict)
    }
