"""Which services a stack has, how each is started, and whether it is ready."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local import processes, state, supervision
from deploy.local.errors import StartFailed
from deploy.local.supervision import Program

_MOST_STARTS = 3  # a service that ends so often before it is ready will not become so
WORKERS = ("expiry", "delivery", "cleanup")
# What some of them listen on besides: mail, what providers report, and the console's pages.
SIDE_PORTS = ("smtp", "reports", "pages")


@dataclass(frozen=True)
class Service:
    """One service process as it is now. A pid of 0 means that there is none."""

    name: str
    state: str
    pid: int
    port: int
    log: Path
    ready: bool

    @property
    def url(self) -> str:
        """Give where it answers /livez, /readyz and /metrics."""
        return f"http://127.0.0.1:{self.port}"


def plan(directory: Path, schedulers: int, own: Mapping[str, Mapping[str, str]]) -> list[Program]:
    """Choose the programs of a stack and their ports, which stay what they were while the services run.

    Parameters:
        own: each service's own variables, such as the URLs with its login.
    """
    timers = ["scheduler"] if schedulers == 1 else [f"scheduler-{n + 1}" for n in range(schedulers)]
    names = ["outside", *timers, *WORKERS, "webhooks", "console"]
    known = state.read(directory).get("ports", {})
    if not supervision.running(directory) or {*names, *SIDE_PORTS} - known.keys():
        supervision.stop(directory)
        known = state.ports(directory, *SIDE_PORTS, *names)
    return [
        Program(
            name,
            _command(directory, name, known),
            known[name],
            directory / "logs" / f"{name}.log",
            own.get(name.partition("-")[0], {}),
        )
        for name in names
    ]


def service(directory: Path, program: Program) -> Service:
    """Look at one program of a stack."""
    found, pid = supervision.states(directory).get(program.name, ("STOPPED", 0))
    return Service(program.name, found, pid, program.port, program.log, pid != 0 and is_ready(program.port))


def is_ready(port: int) -> bool:
    """Ask a process whether it is ready for work."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait(directory: Path, programs: list[Program], report: Callable[[str], None], patience_s: float = 60) -> None:
    """Return once every program is ready.

    Raises:
        StartFailed: for the first one that ends again and again, or is not ready in time.
    """
    deadline = time.monotonic() + patience_s
    for program in programs:
        pids = set()
        while not is_ready(program.port):
            found, pid = supervision.states(directory).get(program.name, ("STOPPED", 0))
            pids.add(pid)
            if len(pids - {0}) > _MOST_STARTS or found == "FATAL" or time.monotonic() > deadline:
                raise StartFailed(
                    f"{program.name} is not ready: {program.log} ends with\n{processes.tail(program.log)}"
                )
            time.sleep(0.1)
        report(f"{program.name} ready")


def _command(directory: Path, name: str, ports: dict[str, int]) -> tuple[str, ...]:
    if name == "outside":
        options = {"--smtp-port": ports["smtp"], "--http-port": ports[name], "--journal": directory / "outside.jsonl"}
        return (
            sys.executable,
            "-m",
            "tests.outside",
            "serve",
            *(str(part) for item in options.items() for part in item),
        )
    if name.startswith("scheduler"):
        return (sys.executable, "-m", "services.scheduler")
    if name == "webhooks":
        return (sys.executable, "-m", "services.delivery.webhooks")
    if name == "console":
        return (sys.executable, "-m", "services.console.app")
    processes_and_grace = ("--processes", "1", "--worker-shutdown-timeout", "30000")
    return (sys.executable, "-m", "dramatiq", f"services.{name}.actors", *processes_and_grace)
