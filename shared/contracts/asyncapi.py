"""The AsyncAPI 3 document: which message goes to which queue, which event comes from where, and how to log in."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shared.contracts import examples
from shared.contracts.schemas import Schema, contract
from shared.events import EVENTS, EXCHANGE
from shared.messages import MESSAGES, QUEUES
from shared.topology import MAX_LENGTH
from shared.wire import CONTENT_TYPE, WIRETAP

ROOT = Path(__file__).parents[2]
_SCHEMAS = ("envelope", "event_envelope", "messages", "events")
ABOUT = (
    "The background jobs of a gift-card business. Publish a message to the queue of its name, persistent, mandatory and"
    " with publisher confirms; bind a queue of your own to the exchange of events. Only ids travel."
)


def version() -> str:
    """Give the project's version."""
    project: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return project


def asyncapi() -> dict[str, Any]:
    """Describe everything that travels, as AsyncAPI 3.0.0."""
    agreed = contract()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "giftcard-jobs",
            "version": version(),
            "description": ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "broker": {
                "host": "rabbitmq.example.com:5671",
                "protocol": "amqps",
                "protocolVersion": "0-9-1",
                "description": "RabbitMQ 3.10 or newer; amqp on 5672 where the network is trusted.",
                "security": [{"$ref": "#/components/securitySchemes/password"}],
            }
        },
        "channels": {queue: _queue(queue) for queue in QUEUES} | {"events": _events()},
        "operations": {f"do_{name}": _operation("receive", m.queue, name) for name, m in MESSAGES.items()}
        | {f"tell_{_word(name)}": _operation("send", "events", name) for name in EVENTS},
        "components": {
            "securitySchemes": {"password": {"type": "userPassword", "description": "A RabbitMQ user of your own."}},
            "messages": _messages(),
            "schemas": {name: entry["schema"] for part in _SCHEMAS for name, entry in agreed[part].items()},
        },
    }


def _queue(queue: str) -> dict[str, Any]:
    return {
        "address": queue,
        "description": f"Work for {queue}; urgent work goes to {queue}.urgent. A full queue refuses the publisher"
        f" (reject-publish at {MAX_LENGTH:,} messages). With {WIRETAP} in the AMQP header BCC, the broker keeps a copy,"
        " should the queue be lost.",
        "messages": {name: _ref("messages", name) for name, m in MESSAGES.items() if m.queue == queue},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"name": queue, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _events() -> dict[str, Any]:
    return {
        "address": "{type}",
        "description": "Facts, at least once; in order and counted without gaps per card. The routing key is the type.",
        "parameters": {"type": {"description": "The event's type, such as `delivery.sent`.", "enum": list(EVENTS)}},
        "messages": {_word(name): _ref("messages", _word(name)) for name in EVENTS},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _operation(action: str, channel: str, name: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": _ref(None, channel),
        "messages": [{"$ref": f"#/channels/{channel}/messages/{_word(name)}"}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": action == "receive", "bindingVersion": "0.3.0"}},
    }


def _messages() -> dict[str, Any]:
    return {
        _word(name): {
            "name": name,
            "summary": (model.__doc__ or "").splitlines()[0],
            "contentType": CONTENT_TYPE,
            "payload": _payload(name),
            "examples": [{"payload": examples.document(name, model)}],
        }
        for name, model in (MESSAGES | EVENTS).items()
    }


def _payload(name: str) -> Schema:
    own = {"type": {"const": name}, "data": _ref("schemas", name)}
    envelope = _ref("schemas", "event" if name in EVENTS else "cloudevent")
    return {"allOf": [envelope, {"type": "object", "properties": own, "required": ["data"]}]}


def _ref(kind: str | None, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}" if kind else f"#/channels/{name}"}


def _word(name: str) -> str:
    return name.replace(".", "_")
