"""The secrets of Compose: a file per key, and the files from which PostgreSQL and RabbitMQ learn their users.

What is there stays. So a directory of an older version is completed by what came since, and no password changes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.local.state import ROOT
from deploy.secrets import OWNER, USERS, WATCHERS, Secrets
from shared.privileges import GRANTS, role

DIRECTORY = ROOT / ".local/compose"
# One is no use without the other, so they are kept both or made both.
PAIRS = [{"console_password", "console_console_users"}, {"delivery_webhook_keys", "webhooks_webhook_keys"}]

LOGIN = """
SELECT 'CREATE ROLE {role} NOLOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
SELECT 'CREATE ROLE {user} LOGIN IN ROLE {role}'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') \\gexec
ALTER ROLE {user} PASSWORD '{password}';
"""


def write(directory: Path, all_of_it: Secrets) -> None:
    """Write a file for each key that has none, such as ``expiry_database_url``, and what gives the servers their users.

    The directory is its owner's alone; its files can be read by the containers' users, to whom they are mounted.
    """
    directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    new = _keys(all_of_it)
    keys = new | _kept(directory, new)
    for name, text in (keys | _of_servers(keys)).items():
        (directory / name).unlink(missing_ok=True)  # its owner, too, may only read it
        (directory / name).write_text(text)
        (directory / name).chmod(0o444)


def _keys(all_of_it: Secrets) -> dict[str, str]:
    ours = {name.removeprefix("giftcards-"): keys for name, keys in all_of_it.items() if name.startswith("giftcards-")}
    found = {f"{name}_{key}": value for name, keys in ours.items() for key, value in keys.items()}
    return found | {"console_password": all_of_it["console-user-admin"]["password"]}


def _kept(directory: Path, names: dict[str, str]) -> dict[str, str]:
    there = {name for name in names if (directory / name).is_file()}
    for pair in PAIRS:
        there -= pair if not pair <= there else set()
    return {name: (directory / name).read_text() for name in there}


def _of_servers(keys: dict[str, str]) -> dict[str, str]:
    """Write what the servers read: the logins by which the URLs sign in, with what each may do in this version."""
    urls = [urlsplit(text) for name, text in keys.items() if name.endswith("_url")]
    database = {str(url.username): str(url.password) for url in urls if url.scheme == "postgresql"}
    broker = {str(url.username): str(url.password) for url in urls if url.scheme in ("amqp", "http")}
    return {
        "logins.sql": "".join(LOGIN.format(user=user, role=role(user), password=database[user]) for user in GRANTS),
        "definitions.json": json.dumps(_definitions(broker), indent=1),
        "postgres.env": f"POSTGRES_PASSWORD={database[OWNER]}\n",
    }


def _definitions(passwords: dict[str, str]) -> dict[str, Any]:
    """Write the users of the broker and their permissions as it reads them at its start."""
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": user,
                "password_hash": _hashed(passwords[user]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["monitoring"] if user in WATCHERS else [],
            }
            for user in USERS
        ],
        "permissions": [{"user": user, "vhost": "/", **asdict(may)} for user, may in USERS.items()],
    }


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(4)
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
