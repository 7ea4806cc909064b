"""Where it is measured: servers of our own that wait for the disk, and a new database and virtual host for each run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.sql import SQL, Identifier

from bench.frame import DRIVER
from bench.peers import redis
from bench.place import Place
from deploy.local import database, management, postgres, processes, rabbitmq, state
from shared.messages import QUEUES
from shared.options import TIMETABLE

# What is measured runs because it was asked for: no tick falls in, no rate holds it back, no brake stops the sweep.
SETTINGS = {
    "JOBS_TIMETABLE": json.dumps({name: {"cron": "0 0 29 2 *"} for name in TIMETABLE}),
    "JOBS_BRAKE_SHARE": "1",
    **{f"JOBS_QUEUES__{queue.replace('-', '_').upper()}__RATE_PER_S": "" for queue in QUEUES},
}

SHARED_BUFFERS = "2GB"  # of deploy/k8s/overlays/production; all ways have the same


class Lab:
    """Start each server when it is first needed; at the end stop them and drop their data.

    Parameters:
        directory: for data and logs; what an earlier run left there is dropped.
        limit_s: how long one run may take; what was done by then is what counts.
    """

    def __init__(self, directory: Path, limit_s: float) -> None:
        self.directory = directory.resolve()
        self.limit_s = limit_s
        self.templates: set[str] = set()

    def __enter__(self) -> Self:
        self._delete()
        for logs in self.directory.glob("run_*"):  # those of the last run stay until now
            shutil.rmtree(logs)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._delete()

    def _delete(self) -> None:
        postgres.delete(self.directory / "postgres")
        rabbitmq.delete(self.directory / "rabbitmq")
        redis.delete(self.directory / "redis")

    @cached_property
    def server(self) -> str:
        """Give the URL of PostgreSQL's superuser."""
        return postgres.start(self.directory / "postgres", shared_buffers=SHARED_BUFFERS)

    @cached_property
    def api(self) -> str:
        """Give the URL of RabbitMQ's management API."""
        rabbitmq.start(self.directory / "rabbitmq")
        return rabbitmq.management_url(self.directory / "rabbitmq", password=True)

    @cached_property
    def redis(self) -> str:
        """Give Redis's URL."""
        return redis.start(self.directory / "redis")

    def pids(self) -> dict[str, int]:
        """Give the servers that run, and this process, by role."""
        found = {
            name: processes.recorded(self.directory / name / "pid.json") for name in ("postgres", "rabbitmq", "redis")
        }
        return {name: process.pid for name, process in found.items() if process} | {DRIVER: os.getpid()}

    def versions(self) -> dict[str, str]:
        """Give the versions of PostgreSQL and RabbitMQ."""
        with psycopg.connect(self.server) as connection:
            number = str(connection.info.parameter_status("server_version")).split()[0]
        return {"postgresql": number, "rabbitmq": management.call(self.api, "GET", "overview")["rabbitmq_version"]}

    @contextmanager
    def place(self, template: str = "empty", build: Callable[[str], None] = database.migrate) -> Iterator[Place]:
        """Lend a database and a virtual host for one run, dropped afterwards with all processes that were started.

        Parameters:
            template: database that it is a copy of.
            build: fills that one, the first time, given its URL.
        """
        name = f"run_{secrets.token_hex(4)}"
        with ExitStack() as ended:
            url = self._copy(template, build, name)
            ended.callback(database.drop, self.server, name)
            management.call(self.api, "PUT", f"vhosts/{name}")
            ended.callback(management.call, self.api, "DELETE", f"vhosts/{name}")
            amqp = rabbitmq.url(self.directory / "rabbitmq", name)
            place = Place(self, self.directory / name, url, amqp, SETTINGS)
            ended.callback(place.close)
            yield place

    def _copy(self, template: str, build: Callable[[str], None], name: str) -> str:
        if template not in self.templates:
            build(database.create(self.server, template))
            self.templates.add(template)
        with psycopg.connect(self.server, autocommit=True) as connection:
            files = " STRATEGY file_copy" if connection.info.server_version >= 150000 else ""  # not through the log
            statement = SQL("CREATE DATABASE {} TEMPLATE {}" + files).format(Identifier(name), Identifier(template))
            connection.execute(statement)
            connection.execute("CHECKPOINT")  # so that no run pays for what another has written
        return database.named(self.server, name)

    def until(self, done: Callable[[], bool], every_s: float = 0.1) -> bool:
        """Wait until it is done, False once the limit is over."""
        deadline = time.monotonic() + self.limit_s
        while not done():
            if time.monotonic() > deadline:
                return False
            time.sleep(every_s)
        return True

    def port(self, name: str) -> int:
        """Give a free port."""
        return state.ports(self.directory, name)[name]
