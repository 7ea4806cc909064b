"""PostgreSQL and RabbitMQ for tests as containers, where a Docker engine answers."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from deploy.local import management, state
from deploy.local.errors import StartFailed

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_LABEL = "giftcard-jobs"
_COMMAND = "postgres -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200"


def available() -> bool:
    """Tell whether a Docker engine truly answers."""
    with _engine() as client:
        return client is not None


def start(directory: Path) -> dict[str, str]:
    """Start both servers, or find those of a directory running, and give ``database``, ``rabbitmq``, ``management``.

    They are left running for the next time; :func:`stop` ends them.
    """
    directory = directory.resolve()
    with state.alone(directory):
        urls: dict[str, str] = state.read(directory).get("containers", {})
        if not urls or _running(directory) < 2:
            _remove(directory)
            state.remember(directory, containers={})
            urls = _start(directory)
            state.remember(directory, containers=urls)
    return urls


def stop(directory: Path) -> None:
    """Remove the containers of a directory with their data; nothing happens if there are none."""
    if "containers" in state.read(directory):
        _remove(directory)


def _start(directory: Path) -> dict[str, str]:
    password = secrets.token_hex(16)
    ports = state.ports(directory, "postgres", "amqp", "management")
    broker_ports = {5672: ports["amqp"], 15672: ports["management"]}
    database = _container(directory, "postgres:17", {5432: ports["postgres"]}, {"POSTGRES_PASSWORD": password})
    broker_user = {"RABBITMQ_DEFAULT_USER": "jobs", "RABBITMQ_DEFAULT_PASS": password}
    broker = _container(directory, "rabbitmq:4-management", broker_ports, broker_user)
    urls = {
        "database": f"postgresql://postgres:{password}@127.0.0.1:{ports['postgres']}/postgres",
        "rabbitmq": f"amqp://jobs:{password}@127.0.0.1:{ports['amqp']}/%2F",
        "management": f"http://jobs:{password}@127.0.0.1:{ports['management']}/",
    }
    for container in (database.with_command(_COMMAND), broker):
        container.start()
    _await(lambda: psycopg.connect(urls["database"], connect_timeout=5).close())
    _await(lambda: management.call(urls["management"], "GET", "health/checks/virtual-hosts"))
    return urls


def _container(directory: Path, image: str, ports: dict[int, int], env: dict[str, str]) -> DockerContainer:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    testcontainers_config.ryuk_disabled = True  # its reaper would end them with the first of several test processes
    container = DockerContainer(image).with_kwargs(labels={_LABEL: str(directory)})
    # set at the attribute: with_bind_ports knows no address, and would open them to the network
    bindings: Any = {f"{inside}/tcp": ("127.0.0.1", port) for inside, port in ports.items()}
    container.ports.update(bindings)
    for name, value in env.items():
        container.with_env(name, value)
    return container


def _await(ask: Callable[[], Any], patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            ask()
            return
        except (OSError, psycopg.OperationalError) as error:
            if time.monotonic() > deadline:
                raise StartFailed(f"a container for tests does not answer: {error}; see 'docker logs'") from error
        time.sleep(0.2)


def _running(directory: Path) -> int:
    with _engine() as client:
        return sum(one.status == "running" for one in _ours(client, directory)) if client else 0


def _remove(directory: Path) -> None:
    with _engine() as client:
        for container in _ours(client, directory) if client else []:
            container.remove(force=True, v=True)


def _ours(client: Any, directory: Path) -> list[Any]:
    return list(client.containers.list(all=True, filters={"label": f"{_LABEL}={directory}"}))


def _may_answer() -> bool:
    """Look before asking: the client leaves its socket open when nobody answers."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(host.removeprefix("unix://")) == 0


@contextmanager
def _engine() -> Iterator[Any | None]:
    import docker  # type: ignore[import-untyped]  # has no types

    if not _may_answer():
        yield None
        return
    try:
        client = docker.from_env(timeout=10)
    except (docker.errors.DockerException, OSError):
        yield None
        return
    try:
        yield client
    finally:
        client.close()
