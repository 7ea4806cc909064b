"""Real PostgreSQL and RabbitMQ for tests: one pair for all test processes, a database and a virtual host for each test.

In order: ``JOBS_TEST_DATABASE_URL`` and ``JOBS_TEST_RABBITMQ_URL``; containers where a Docker engine answers; private
servers under ``.local/test``. They are left running, so that the next run begins at once; ``make down`` ends them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deploy.local import containers, database, management, postgres, rabbitmq, state
from deploy.local.errors import StackError
from shared import broker_users, privileges

DIRECTORY = state.LOCAL / "test"
_T = TypeVar("_T")


@cache
def database_server() -> str:
    """Give the URL of a superuser on a server without fsync, started if need be.

    A missing server skips the test on a laptop and fails it in CI.
    """
    return os.environ.get("JOBS_TEST_DATABASE_URL") or _need("PostgreSQL", _start_database)


@cache
def rabbitmq_server() -> tuple[str, str]:
    """Give the AMQP URL of an administrator, and the URL of the management API with user and password.

    A missing server skips the test on a laptop and fails it in CI.
    """
    if url := os.environ.get("JOBS_TEST_RABBITMQ_URL"):
        login, _, place = urlsplit(url).netloc.rpartition("@")
        host = place.partition(":")[0]
        return url, os.environ.get("JOBS_TEST_MANAGEMENT_URL") or f"http://{login or 'guest:guest'}@{host}:15672/"
    return _need("RabbitMQ", _start_rabbitmq)


@contextmanager
def fresh_database() -> Iterator[str]:
    """Lend a migrated database of its own, dropped afterwards, and give its URL."""
    server, name = database_server(), f"test_{os.getpid()}_{secrets.token_hex(4)}"
    try:
        yield database.create(server, name, template=_template(server))
    finally:
        database.drop(server, name)


def as_service(url: str, service: str) -> str:
    """Give a test database's URL for a login of a service's role, which may do what that service may."""
    return database.signed_in(url, *_login(database_server(), service))


@cache
def _login(server: str, service: str) -> tuple[str, str]:
    """Make a login that all test processes share; its password is theirs, since they share the server's."""
    user, password = f"test_{service}", hashlib.sha256(f"{server} {service}".encode()).hexdigest()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('giftcard-jobs test logins'))")
        database.login(server, user, password, privileges.role(service))
    return user, password


def as_broker_user(url: str, user: str) -> str:
    """Give a test's virtual host for a user with the permissions of a service there, and nowhere else."""
    api, vhost = rabbitmq_server()[1], urlsplit(url).path.removeprefix("/")
    name, password = f"test_{user}", hashlib.sha256(f"{api} {user}".encode()).hexdigest()
    management.user(api, vhost, name, password, asdict(broker_users.PERMISSIONS[user]))
    return rabbitmq.signed_in(url, name, password)


@contextmanager
def fresh_vhost() -> Iterator[str]:
    """Lend a virtual host of its own, deleted afterwards with all its queues, and give its AMQP URL."""
    url, api = rabbitmq_server()
    name = f"test-{os.getpid()}-{secrets.token_hex(4)}"
    management.call(api, "PUT", f"vhosts/{name}")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        management.call(api, "DELETE", f"vhosts/{name}")


def _start_database() -> str:
    if containers.available():
        return containers.start(DIRECTORY)["database"]
    return postgres.start(DIRECTORY / "postgres", durable=False)


def _start_rabbitmq() -> tuple[str, str]:
    if containers.available():
        urls = containers.start(DIRECTORY)
        return urls["rabbitmq"], urls["management"]
    url = rabbitmq.start(DIRECTORY / "rabbitmq")
    return url, rabbitmq.management_url(DIRECTORY / "rabbitmq", password=True)


def _need(server: str, start: Callable[[], _T]) -> _T:
    try:
        return start()
    except StackError as error:
        give_up(f"no {server} for tests: {error}")


def give_up(reason: str) -> NoReturn:
    """Skip on a laptop, and fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def _template(server: str) -> str:
    """Make a database that is migrated once for all test processes and for as long as the migrations stay the same."""
    shared = state.ROOT / "shared"
    migrations = [*sorted(shared.glob("migrations/**/*.*")), shared / "messages.py", shared / "privileges.py"]
    contents = b"".join(file.read_bytes() for file in migrations if file.suffix != ".pyc")
    name = f"template_{hashlib.sha256(contents).hexdigest()[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('giftcard-jobs template'))")
        if not connection.execute("SELECT 1 FROM pg_database WHERE datistemplate AND datname = %s", [name]).fetchone():
            database.drop(server, name)
            database.migrate(database.create(server, name))
            connection.execute(SQL("ALTER DATABASE {} IS_TEMPLATE true").format(Identifier(name)))
    return name
