"""One run's own database, virtual host and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from bench import journal
from bench.cost import Usage, watched
from bench.frame import Unmeasured
from deploy.local import processes, services, state
from shared.settings import settings

if TYPE_CHECKING:
    from bench.lab import Lab


class Place:
    """Start processes and ask the database; this process's own settings point here, too.

    Parameters:
        directory: for logs and the journal.
        url, amqp: of the database and of the virtual host.
        variables: ``JOBS_*`` of all services of ours.
    """

    def __init__(self, lab: Lab, directory: Path, url: str, amqp: str, variables: Mapping[str, str]) -> None:
        directory.mkdir(parents=True)
        self.lab, self.directory, self.url, self.amqp = lab, directory, url, amqp
        self.journal = directory / "journal"
        self.pids = lab.pids()
        self._running: list[subprocess.Popen[bytes]] = []
        own = {"JOBS_DATABASE_URL": url, "JOBS_RABBITMQ_URL": amqp, "BENCH_JOURNAL": str(self.journal)}
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("JOBS_")}
        self.env |= {"BENCH_AMQP": amqp, "BENCH_DATABASE": url, "PYTHONPATH": str(state.ROOT), **own, **variables}
        self._before = {name: value for name, value in os.environ.items() if name.startswith("JOBS_")}
        self._ours(self.env)

    def _ours(self, env: Mapping[str, str]) -> None:
        """Make these the settings of this process."""
        for name in [name for name in os.environ if name.startswith("JOBS_")]:
            del os.environ[name]
        os.environ.update({name: value for name, value in env.items() if name.startswith("JOBS_")})
        settings.cache_clear()

    @cached_property
    def _connection(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(self.url, autocommit=True, row_factory=dict_row)

    def sql(self, statement: LiteralString, *values: object) -> list[dict[str, Any]]:
        """Run SQL as the owner, with values in order, or one mapping of them by name."""
        named = values[0] if values and isinstance(values[0], Mapping) else None
        cursor = self._connection.execute(statement, named or values or None)
        return cursor.fetchall() if cursor.description else []

    def worker(self, module: str, *, count: int = 1, **queues: int) -> None:
        """Start our worker of a module, with so many processes; ``maintenance__prefetch=64`` sets a queue."""
        env = {f"JOBS_QUEUES__{name.upper()}": str(value) for name, value in queues.items()}
        self.start("worker", [sys.executable, "-m", "dramatiq", module, "--processes", str(count)], env)

    def scheduler(self, **queues: int) -> None:
        """Start our scheduler, and return once it is ready."""
        env = {f"JOBS_QUEUES__{name.upper()}": str(value) for name, value in queues.items()}
        port = self.lab.port("scheduler")
        own = {"JOBS_HTTP_PORT": str(port), **env}
        self.start("scheduler", [sys.executable, "-m", "services.scheduler"], own)
        self._ready(lambda: services.is_ready(port), "the scheduler")

    def start(
        self,
        role: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        stdin: IO[str] | None = None,
        cwd: Path = state.ROOT,
    ) -> subprocess.Popen[bytes]:
        """Start a process that is watched under a role; it ends with the run."""
        options: dict[str, Any] = {"stdin": stdin or subprocess.DEVNULL, "cwd": cwd, "start_new_session": True}
        with (self.directory / f"{role}.log").open("ab") as log:
            variables = {"JOBS_HTTP_PORT": "0", **self.env, **env}
            child = subprocess.Popen(command, env=variables, stdout=log, stderr=log, **options)  # noqa: S603 (ours)
        self._running.append(child)
        self.pids[role] = child.pid
        return child

    def finish(self, child: subprocess.Popen[bytes], role: str) -> None:
        """Wait until a program has done its part.

        Raises:
            Unmeasured: it failed, with the end of its log, or was not through in time.
        """
        try:
            child.wait(self.lab.limit_s)
        except subprocess.TimeoutExpired:
            raise Unmeasured(f"{role} was not through after {self.lab.limit_s:.0f} s") from None
        if child.returncode:
            raise self.failed(role)

    def failed(self, role: str) -> Unmeasured:
        """Say why a process gave nothing, with the end of its log."""
        return Unmeasured(f"{role} failed: {processes.tail(self.directory / f'{role}.log', 3).strip()}")

    def noted(self, count: int) -> list[tuple[float, float]]:
        """Wait until so many pairs are in the journal, and give those that are when the limit is over.

        Raises:
            Unmeasured: a process has ended meanwhile, or nothing at all was noted.
        """
        self.lab.until(lambda: journal.count(self.journal) >= count or not self._alive(), every_s=0.05)
        if not self._alive() and journal.count(self.journal) < count:
            raise Unmeasured(f"a process ended before its work was done: {self._last_words()}")
        pairs = journal.read(self.journal)
        if len(pairs) < 2:
            raise Unmeasured(f"nothing ran within {self.lab.limit_s:.0f} s: {self._last_words()}")
        return pairs

    def _alive(self) -> bool:
        return all(child.poll() in (None, 0) for child in self._running)

    def _last_words(self) -> str:
        return " | ".join(processes.tail(log, 2).strip() for log in sorted(self.directory.glob("*.log")))

    def _ready(self, is_ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not is_ready():
            if time.monotonic() > deadline or not self._alive():
                raise Unmeasured(f"{what} did not get ready: {self._last_words()}")
            time.sleep(0.05)

    @contextmanager
    def cost(self) -> Iterator[dict[str, Usage]]:
        """Watch servers, processes and this one while in the context."""
        with watched(self.pids) as usages:
            yield usages

    def close(self) -> None:
        """End what was started here."""
        for child in reversed(self._running):
            _end(child)
        if "_connection" in self.__dict__:
            self._connection.close()
        self._ours(self._before)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a program with all of its group: nothing of the run is needed any more."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
