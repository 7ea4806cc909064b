"""Make every password and key of an installation by chance: as Kubernetes Secrets, or as the files of Compose.

python -m deploy.secrets kubernetes | kubectl apply -f -    for a cluster of one's own; else components/external-secrets
python -m deploy.secrets compose                            into .local/compose; what is there stays
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.fernet import Fernet

from deploy.local.state import ROOT
from services.console.web.users import hashed
from shared.broker_users import NOTHING, PERMISSIONS, Permissions
from shared.privileges import GRANTS, role

Secrets: TypeAlias = dict[str, dict[str, str]]

DIRECTORY = ROOT / ".local/compose"
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


def compose(directory: Path, all_of_it: Secrets) -> None:
    """Write a file per key, such as ``expiry_database_url``, and what gives the servers their users.

    The directory is its owner's alone; its files can be read by the containers' users, to whom they are mounted.
    """
    directory.mkdir(parents=True, mode=0o700)
    files = {
        f"{name.removeprefix('giftcards-')}_{key}": value
        for name, keys in all_of_it.items()
        if name.startswith("giftcards-")
        for key, value in keys.items()
    }
    files["console_password"] = all_of_it["console-user-admin"]["password"]
    files["logins.sql"] = _logins(all_of_it)
    files["definitions.json"] = json.dumps(_definitions(all_of_it), indent=1)
    files["postgres.env"] = f"POSTGRES_PASSWORD={all_of_it[f'database-user-{OWNER}']['password']}\n"
    for name, text in files.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o444)


def _logins(all_of_it: Secrets) -> str:
    """Write the SQL that makes a login for each service, a member of its role, on a new server."""
    return "".join(
        f"CREATE ROLE {role(service)} NOLOGIN;\n"
        f"CREATE ROLE {service} LOGIN PASSWORD '{all_of_it[f'database-user-{service}']['password']}'"
        f" IN ROLE {role(service)};\n"
        for service in GRANTS
    )


def _definitions(all_of_it: Secrets) -> dict[str, Any]:
    """Write the users of the broker and their permissions as it reads them at its start."""
    passwords = {user: all_of_it[f"broker-user-{user}"]["password"] for user in USERS}
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": user,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["monitoring"] if user in WATCHERS else [],
            }
            for user, password in passwords.items()
        ],
        "permissions": [{"user": user, "vhost": "/", **asdict(may)} for user, may in USERS.items()],
    }


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(4)
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _login(user: str) -> dict[str, str]:
    return {"username": user, "password": secrets.token_urlsafe(24)}


def _key_list() -> str:
    return json.dumps([secrets.token_urlsafe(32)])


def _users(admin: dict[str, str]) -> str:
    """Write the console's users, with one who may do everything and make the others."""
    return json.dumps({admin["username"]: {"role": "admin", "password_hash": hashed(admin["password"])}})


def main(target: str = "") -> None:
    """Print or write the secrets for one of the two targets."""
    if target == "kubernetes":
        print(json.dumps(kubernetes(made()), indent=1))
    elif target == "compose":
        if not DIRECTORY.exists():
            compose(DIRECTORY, made("postgres", "rabbitmq"))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:2])
