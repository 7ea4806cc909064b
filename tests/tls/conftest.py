"""Servers that speak TLS, vouched for by a private authority, under the name ``localhost`` and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Literal

from deploy.local import account, management, postgres, state
from deploy.local import database as databases
from deploy.local import rabbitmq as broker
from deploy.local.errors import ServerMissing
from services.delivery import smtp
from shared import db
from shared.broker import get_broker
from tests import servers
from tests.conftest import CODE_KEY
from tests.kinds import Setting
from tests.outside import Outside
from tests.outside.certificate import Authority, Certificate

HOST, TEMPLATE = "localhost", "template_tls"
BROKER = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {authority.file}
ssl_options.certfile = {own.file}
ssl_options.keyfile = {own.key_file}
ssl_options.verify = verify_none
"""


@dataclass(frozen=True)
class Secured:
    """Servers with TLS. The URLs name them as their certificate does, and trust their authority.

    Parameters:
        stranger: the file of an authority that vouches for none of them.
        api: the broker's management.
    """

    authority: Authority
    own: Certificate
    stranger: Path
    database_url: str
    amqp_url: str
    api: str


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Start both servers once for all of these tests."""
    folder = account.home(tmp_path_factory.mktemp("tls"))  # PostgreSQL runs as a user of its own
    (folder / "stranger").mkdir()
    authority, stranger = Authority(folder), Authority(folder / "stranger")
    own = authority.issue(HOST)
    try:
        server, amqp = _postgres(folder, own), _rabbitmq(folder, authority, own)
        url = databases.create(f"{server}?sslmode=verify-full&sslrootcert={authority.file}", TEMPLATE)
        databases.migrate(url)
        api = broker.management_url(folder / "rabbitmq", password=True)
        yield Secured(authority, own, stranger.file, url, amqp, api)
    except ServerMissing as error:
        servers.give_up(f"no servers for TLS: {error}")
    finally:
        broker.delete(folder / "rabbitmq")
        postgres.delete(folder / "postgres")
        shutil.rmtree(folder)


def _postgres(folder: Path, own: Certificate) -> str:
    url = postgres.start(folder / "postgres", durable=False)
    if owner := account.name():
        shutil.chown(own.key_file, owner)
    own.key_file.chmod(0o600)
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in {"ssl_cert_file": own.file, "ssl_key_file": own.key_file, "ssl": "on"}.items():
            connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(SQL(name), Literal(str(value))))
        connection.execute("SELECT pg_reload_conf()")
    return _renamed(url)


def _rabbitmq(folder: Path, authority: Authority, own: Certificate) -> str:
    port = state.ports(folder, "amqps")["amqps"]
    url = broker.start(folder / "rabbitmq", more=BROKER.format(port=port, authority=authority, own=own))
    return _renamed(urlsplit(url)._replace(scheme="amqps").geturl(), port)


def _renamed(url: str, port: int | None = None, host: str = HOST) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@{host}:{port or parts.port}").geturl()


def elsewhere(url: str) -> str:
    """Give a URL that leads to the same server by a name which its certificate does not have."""
    return _renamed(url, host="127.0.0.1")


@pytest.fixture
def database(secured: Secured, setting: Setting) -> Iterator[str]:
    """Lend a database of its own on the server with TLS, as this process's settings."""
    server = databases.named(secured.database_url, "postgres")
    url = databases.create(server, "test", template=TEMPLATE)
    setting(database_url=url, queues__email_delivery__rate_per_s="10000")
    db.stopping.clear()
    yield url
    db.close_pool()
    databases.drop(server, "test")


@pytest.fixture
def rabbitmq(secured: Secured, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Lend a virtual host of its own on the broker with TLS, as this process's settings."""
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.authority.file))
    management.call(secured.api, "PUT", "vhosts/test")
    url = urlsplit(secured.amqp_url)._replace(path="/test").geturl()
    setting(rabbitmq_url=url)
    get_broker().use(url)
    yield url
    management.call(secured.api, "DELETE", "vhosts/test")


@pytest.fixture
def login(database: str, rabbitmq: str) -> Callable[[str], dict[str, str]]:
    """Let every service sign in as the servers' owner, with what this process has in its settings."""
    return lambda _: {}


@pytest.fixture(params=["starttls", "tls"])
def outside(request: pytest.FixtureRequest, secured: Secured, setting: Setting) -> Iterator[Outside]:
    """Lend a relay with TLS of either kind, as this process's settings."""
    with Outside(smtp_security=request.param, certificate=secured.own) as world:
        setting(code_keys=json.dumps([CODE_KEY]), settle_s=0, **world.settings() | {"smtp_host": HOST})
        yield world
        smtp.close()
