"""The services of a stack as processes under supervisord, restarted when they end."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from deploy.local import processes, state

_HEAD = """\
[unix_http_server]
file={socket}
chmod=0600
[supervisord]
nodaemon=true
user={user}
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
childlogdir={directory}/logs
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""

# TERM goes to the first process only: Dramatiq's passes it on, and a worker that gets it twice drops its running jobs.
_PROGRAM = """\
[program:{name}]
command={command}
directory={root}
environment={environment}
autorestart=true
startsecs=1
startretries=5
stopwaitsecs=40
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True)
class Program:
    """One service: how it is started, where it answers, where it logs, and the variables that are its own."""

    name: str
    command: tuple[str, ...]
    port: int
    log: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def as_facts(self) -> dict[str, Any]:
        """Give what :meth:`from_facts` makes it of again, as JSON can hold it."""
        return {"name": self.name, "command": self.command, "port": self.port, "log": str(self.log)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Program:
        """Make it of what was remembered."""
        return cls(facts["name"], tuple(facts["command"]), facts["port"], Path(facts["log"]))


def start(directory: Path, programs: list[Program], env: Mapping[str, str]) -> None:
    """Run programs under the supervisor of a directory; one that runs with other programs or variables is replaced.

    Parameters:
        env: all the ``JOBS_*`` variables of the programs; those of the caller do not reach them.

    Raises:
        StartFailed: with the end of the supervisor's log.
    """
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    configuration = _configuration(directory, programs)
    meant = hashlib.sha256(repr((configuration, sorted(env.items()))).encode()).hexdigest()
    found = _process(directory)
    if found and state.read(directory).get("running") != meant:
        stop(directory)
        found = None
    state.write_private(directory / "supervisord.conf", configuration)
    state.remember(directory, running=meant)
    log = directory / "supervisord.out"
    processes.ensure(found, lambda: _launch(directory, env, log), lambda: _check(directory), log)
    if found:
        with _supervisor(directory) as supervisor:
            supervisor.startAllProcesses(False)


def stop(directory: Path) -> None:
    """Stop the services of a directory, and any that a killed supervisor left behind."""
    if process := _process(directory):
        processes.end(process, grace_s=60)
    _end_leftovers(directory)


def running(directory: Path) -> bool:
    """Tell whether the supervisor of a directory runs."""
    return _process(directory) is not None


def states(directory: Path) -> dict[str, tuple[str, int]]:
    """Give the supervisor's word for the state of each service, and its pid (0: none); empty if no supervisor runs."""
    try:
        with _supervisor(directory) as supervisor:
            return {info["name"]: (info["statename"], info["pid"]) for info in supervisor.getAllProcessInfo()}
    except OSError:
        return {}


def _configuration(directory: Path, programs: list[Program]) -> str:
    head = _HEAD.format(socket=_escaped(_socket(directory)), directory=_escaped(directory), user=os.getuid())
    return head + "".join(
        _PROGRAM.format(
            name=program.name,
            command=_escaped(shlex.join(program.command)),
            root=_escaped(state.ROOT),
            environment=_environment(program),
            log=_escaped(program.log),
        )
        for program in programs
    )


def _environment(program: Program) -> str:
    own = {"JOBS_HTTP_PORT": str(program.port), **program.env}
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in own.items())


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


def _socket(directory: Path) -> Path:
    path = directory / "supervisor.sock"
    if len(os.fsencode(path)) < 90:  # the kernel takes 107 bytes, and supervisor adds its pid while it starts
        return path
    return Path(tempfile.gettempdir()) / f"giftcard-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}.sock"


def _process(directory: Path) -> processes.Process | None:
    return processes.recorded(directory / "supervisord.json")


def _launch(directory: Path, env: Mapping[str, str], log: Path) -> processes.Process:
    _end_leftovers(directory)
    return processes.spawn(
        [sys.executable, "-m", "supervisor.supervisord", "-c", directory / "supervisord.conf"],
        record=directory / "supervisord.json",
        log=log,
        mark=directory,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("JOBS_")}, **env},
        cwd=state.ROOT,
    )


def _check(directory: Path) -> None:
    with _supervisor(directory) as supervisor:
        supervisor.getState()


@contextmanager
def _supervisor(directory: Path) -> Iterator[Any]:
    transport = SupervisorTransport(None, None, f"unix://{_socket(directory)}")
    try:
        yield ServerProxy("http://127.0.0.1", transport=transport).supervisor
    except Error as error:
        raise OSError(f"supervisord refused: {error}") from error
    finally:
        transport.close()


def _end_leftovers(directory: Path) -> None:
    for process in processes.marked(directory):
        processes.end(process, grace_s=40)
