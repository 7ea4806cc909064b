"""Make every password and key of an installation by chance: as Kubernetes Secrets, or as the files of Compose.

``python -m deploy.secrets`` is the command.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, TypeAlias

from cryptography.fernet import Fernet

from services.console.web.users import hashed
from shared.broker_users import NOTHING, PERMISSIONS, Permissions
from shared.privileges import GRANTS

Secrets: TypeAlias = dict[str, dict[str, str]]

OWNER = "giftcards"
# Who asks the broker how long its queues are, and reads none.
WATCHERS = {"keda": Permissions(NOTHING, NOTHING, NOTHING)}
USERS = PERMISSIONS | WATCHERS


def made(database: str = "database-rw", broker: str = "broker") -> Secrets:
    """Make all secrets: what each service needs to know, and the logins that go with it.

    Parameters:
        database: host name of PostgreSQL.
        broker: host name of RabbitMQ.

    Returns:
        By name, such as ``giftcards-expiry`` or ``database-user-expiry``, what is in it by key.
    """
    logins = {user: _login(user) for user in [*GRANTS, OWNER]}
    users = {user: _login(user) for user in USERS}
    postgres = {u: f"postgresql://{u}:{it['password']}@{database}:5432/{OWNER}" for u, it in logins.items()}
    amqp = {u: f"amqp://{u}:{it['password']}@{broker}:5672/%2F" for u, it in users.items()}
    admin = _login("admin")
    links = _key_list()
    both = {s: {"database_url": postgres[s], "rabbitmq_url": amqp[s]} for s in amqp.keys() & postgres.keys()}
    mail = {"code_keys": json.dumps([Fernet.generate_key().decode()]), "smtp_password": secrets.token_urlsafe()}
    own = {
        "expiry": both["expiry"],
        "cleanup": both["cleanup"],
        "scheduler": both["scheduler"] | {"topology_url": amqp["topology"]},
        "delivery": both["delivery"] | mail | {"twilio_api_secret": secrets.token_urlsafe(), "webhook_keys": links},
        "webhooks": {
            "database_url": postgres["webhooks"],
            "webhook_keys": links,
            "twilio_auth_token": secrets.token_urlsafe(),
        },
        "console": both["console"] | {"console_keys": _key_list(), "console_users": _users(admin)},
        "upstream": both["upstream"],
        "migration": {"database_url": postgres[OWNER]},
        "keda": {"management_url": amqp["keda"].replace("amqp:", "http:").replace(":5672", ":15672")},
    }
    return (
        {f"giftcards-{name}": keys for name, keys in own.items()}
        | {f"database-user-{name}": login for name, login in logins.items()}
        | {f"broker-user-{name}": login for name, login in users.items()}
        | {"console-user-admin": admin}  # for whoever signs in first
    )


def kubernetes(all_of_it: Secrets) -> dict[str, Any]:
    """Give the manifests of all Secrets, as one list that ``kubectl apply`` takes."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": "giftcards"},
                "type": "kubernetes.io/basic-auth" if keys.keys() == {"username", "password"} else "Opaque",
                "stringData": keys,
            }
            for name, keys in all_of_it.items()
        ],
    }


def _login(user: str) -> dict[str, str]:
    return {"username": user, "password": secrets.token_urlsafe(24)}


def _key_list() -> str:
    return json.dumps([secrets.token_urlsafe(32)])


def _users(admin: dict[str, str]) -> str:
    """Write the console's users, with one who may do everything and make the others."""
    return json.dumps({admin["username"]: {"role": "admin", "password_hash": hashed(admin["password"])}})
