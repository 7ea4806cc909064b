"""The HTTP API of RabbitMQ's management plugin."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urlsplit


def call(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Call the API at a URL with user and password in it, and give what it answers, None if nothing.

    Raises:
        OSError: if it does not answer, or answers with an error.
    """
    parts = urlsplit(url)
    login = b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()).decode()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        connection.request(method, f"/api/{path}", json.dumps(body or {}), headers)
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"RabbitMQ's management API broke off: {error!r}") from error
    finally:
        connection.close()
    if answer.status >= 400:
        raise OSError(f"RabbitMQ's management API answered {answer.status} to {method} {path}: {text.decode()[:200]}")
    return json.loads(text) if text else None


def user(url: str, vhost: str, name: str, password: str, permissions: dict[str, str]) -> None:
    """Make a user, or give the one who is there this password, with permissions in one virtual host.

    Parameters:
        vhost: percent-encoded.
        permissions: ``configure``, ``write`` and ``read`` as regular expressions.
    """
    call(url, "PUT", f"users/{name}", {"password": password, "tags": ""})
    call(url, "PUT", f"permissions/{vhost}/{name}", permissions)
