"""The whole system on this machine: two servers, the stand-ins for the outside world, every service as a process.

    python -m deploy.local.stack up        the same as 'make up'
    python -m deploy.local.stack --help    all commands

As a library, for demonstrations and for tests that kill parts of it::

    stack = up(Path(".local/demo"), schedulers=2)
    ... stack.env["JOBS_DATABASE_URL"], stack.services["expiry"].pid ...
    down(Path(".local/demo"))
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deploy.local import containers, database, environment, logins, postgres, rabbitmq, services, state, supervision
from deploy.local.errors import StackError
from deploy.local.services import Service
from deploy.local.supervision import Program

DIRECTORY = state.LOCAL / "stack"
DATABASE = "giftcards"
_OWN: dict[str, Any] = {"postgres": postgres, "rabbitmq": rabbitmq}
_URLS = {"JOBS_DATABASE_URL": "postgres", "JOBS_RABBITMQ_URL": "rabbitmq"}


@dataclass(frozen=True)
class Stack:
    """A stack as it is now."""

    directory: Path
    env: dict[str, str] = field(repr=False)
    services: dict[str, Service]
    servers: dict[str, bool | None] = field(default_factory=dict)

    @property
    def inbox_url(self) -> str:
        """Give the page that shows every e-mail and SMS that the stand-ins took."""
        return self.services["outside"].url + "/"

    @property
    def console_url(self) -> str:
        """Give the console's page."""
        return self.env["JOBS_CONSOLE_URL"]

    @property
    def management_url(self) -> str | None:
        """Give RabbitMQ's own page; None if the broker is not the stack's."""
        return None if self.servers.get("rabbitmq") is None else rabbitmq.management_url(self.directory / "rabbitmq")

    @property
    def well(self) -> bool:
        """Tell whether all of it runs and is ready."""
        return all(up is not False for up in self.servers.values()) and all(s.ready for s in self.services.values())


def up(
    directory: Path = DIRECTORY,
    *,
    extra_env: Mapping[str, str] | None = None,
    schedulers: int = 1,
    durable: bool = True,
    fresh: bool = False,
    report: Callable[[str], None] = lambda step: None,
) -> Stack:
    """Start what does not run yet, and return once every service is ready.

    Parameters:
        directory: where data, logs and the file ``env`` go.
        extra_env: more ``JOBS_*`` variables for the services; they win.
        schedulers: number of scheduler processes, called scheduler-1, scheduler-2, … if more than one.
        durable: False lets PostgreSQL skip fsync.
        fresh: begin with an empty database and broker; those of the caller's own URLs are left as they are.
        report: told of each step that is done.

    Raises:
        ServerMissing: if a server is neither here nor installable.
        StartFailed: with the last log lines of the part that failed.
    """
    directory = directory.resolve()
    if fresh:
        delete(directory)
    with state.alone(directory):
        env = _servers(directory, durable, report)
        database.migrate(env["JOBS_DATABASE_URL"])
        report("database migrated")
        programs = services.plan(directory, schedulers, logins.make(directory, env))
        env |= environment.variables(directory, state.read(directory)["ports"]) | dict(extra_env or {})
        environment.write(directory / "env", env)
        state.remember(directory, programs=[program.as_facts() for program in programs], env=env)
        supervision.start(directory, programs, env)
    services.wait(directory, programs, report)
    return look(directory)


def down(directory: Path = DIRECTORY) -> None:
    """Stop the services of a directory, then its servers; nothing happens if none runs. Data and logs stay."""
    directory = directory.resolve()
    if not directory.exists():
        return
    with state.alone(directory):
        supervision.stop(directory)
        stops = [partial(server.stop, directory / name) for name, server in _OWN.items()]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda stop: stop(), [*stops, partial(containers.stop, directory)]))


def delete(directory: Path = DIRECTORY) -> None:
    """Stop all of a directory and drop its data, logs and settings."""
    down(directory)
    postgres.delete(directory / "postgres")
    shutil.rmtree(directory, ignore_errors=True)


def all_directories() -> list[Path]:
    """Find every stack of this checkout: that of 'make up', of the tests, of the demonstration."""
    found = [place.parent for depth in ("*", "*/*", "*/*/*") for place in state.LOCAL.glob(f"{depth}/state.json")]
    return sorted({place.parent if place.name in _OWN else place for place in found})


def look(directory: Path = DIRECTORY) -> Stack:
    """Look at the stack of a directory, running or not.

    Raises:
        StackError: if none was ever started there.
    """
    directory = directory.resolve()
    facts = state.read(directory)
    if "programs" not in facts:
        raise StackError(f"no stack was started in {directory}: type 'make up'")
    programs = [Program.from_facts(program) for program in facts["programs"]]
    return Stack(
        directory=directory,
        env=facts["env"],
        services={program.name: services.service(directory, program) for program in programs},
        servers={name: _OWN[name].running(directory / name) if name in facts["own"] else None for name in _OWN},
    )


def _servers(directory: Path, durable: bool, report: Callable[[str], None]) -> dict[str, str]:
    """Give the URLs of both servers, the caller's where the environment names one, else those of own ones."""
    given = {name: environment.given(name, directory / server) for name, server in _URLS.items()}
    urls = {name: url for name, url in given.items() if url}
    state.remember(directory, own=[server for name, server in _URLS.items() if name not in urls])
    if "JOBS_DATABASE_URL" not in urls:
        server = postgres.start(directory / "postgres", durable=durable)
        urls["JOBS_DATABASE_URL"] = database.create(server, DATABASE)
        report("PostgreSQL runs")
    if "JOBS_RABBITMQ_URL" not in urls:
        urls["JOBS_RABBITMQ_URL"] = rabbitmq.start(directory / "rabbitmq")
        report("RabbitMQ runs")
    return urls


if __name__ == "__main__":
    from deploy.local.commands import app

    app()
