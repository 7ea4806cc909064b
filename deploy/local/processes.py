"""Processes that the local stack started: known again by pid and start time, and nothing else is ever ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.local.errors import StartFailed

# In the environment of each process started here and so of its children: finds those whose record was lost.
# Not JOBS_…: the services refuse unknown settings.
MARK = "GIFTCARD_STACK"

# Pids to reap: an ended child would stay a zombie for as long as this process lives.
_children: set[int] = set()


@dataclass(frozen=True)
class Process:
    """One process on this machine since its last boot; a pid alone may be given to another one."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return born(self.pid) == self.born


def born(pid: int) -> str | None:
    """Give the boot and the tick in which a living process started, None if there is none."""
    _reap()
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{fields[18]}"


def spawn(
    command: Sequence[str | Path],
    *,
    record: Path,
    log: Path,
    mark: Path,
    env: Mapping[str, str],
    cwd: Path,
    **options: Any,
) -> Process:
    """Start a process that outlives this one, and write down which it is.

    Parameters:
        record: file that :func:`recorded` reads.
        log: file that takes its output.
        mark: the directory it belongs to, for :func:`marked`.
        options: more of :class:`subprocess.Popen`, such as ``user``.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**env, MARK: str(mark)},
            cwd=cwd,
            start_new_session=True,
            **options,
        )
    child.returncode = 0  # it outlives this process, and is not waited for here
    _children.add(child.pid)
    process = Process(child.pid, born(child.pid) or "ended at once")
    record.write_text(json.dumps(asdict(process)))
    return process


def recorded(record: Path) -> Process | None:
    """Give the living process of a record, None if there is none."""
    try:
        process = Process(**json.loads(record.read_text()))
    except (FileNotFoundError, ValueError):
        return None
    return process if process.alive else None


def marked(mark: Path) -> list[Process]:
    """Find all living processes whose environment says that they belong to a directory."""
    wanted = f"{MARK}={mark}".encode()
    return [process for process in _all() if wanted in _read(process.pid, "environ").split(b"\0")]


def working_in(directory: Path, program: str) -> list[Process]:
    """Find all living processes of a program whose working directory this is."""
    return [p for p in _all() if _link(p.pid, "cwd") == str(directory) and Path(_link(p.pid, "exe")).name == program]


def end(process: Process, how: signal.Signals = signal.SIGTERM, grace_s: float = 30) -> None:
    """End a process, and kill it when it has not ended after ``grace_s``."""
    for sent, patience_s in ((how, grace_s), (signal.SIGKILL, 10)):
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        try:
            if not process.alive:  # asked once the handle is held, so that the pid cannot change hands in between
                return
            signal.pidfd_send_signal(handle, sent)
            select.select([handle], [], [], patience_s)
        finally:
            os.close(handle)


def ensure(found: Process | None, launch: Callable[[], Process], check: Callable[[], None], log: Path) -> None:
    """Return once a found process answers; if there is none, or it dies or hangs, launch it and wait for that one.

    Parameters:
        check: raises OSError with the reason as long as it does not answer.

    Raises:
        StartFailed: with the end of its log.
    """
    if found and not _problem(found, check):
        return
    if problem := _problem(launch(), check):
        raise StartFailed(f"{problem}\n{log} ends with\n{tail(log)}")


def tail(log: Path, lines: int = 20) -> str:
    """Give the last lines of a log, indented."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in text[-lines:]) or "  (its log is empty)"


def _reap() -> None:
    for pid in list(_children):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:  # started before a fork of this process
            ended = True
        if ended:
            _children.discard(pid)


def _problem(process: Process, check: Callable[[], None], patience_s: float = 90) -> str | None:
    deadline = time.monotonic() + patience_s
    while True:
        alive = process.alive
        try:
            check()
            return None
        except OSError as error:
            if not alive or time.monotonic() > deadline:
                return f"it does not {'answer' if alive else 'run'}: {error}"
        time.sleep(0.05)


def _all() -> list[Process]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [Process(pid, since) for pid in pids if pid != os.getpid() and (since := born(pid))]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:  # ended meanwhile, or another user's
        return b""


def _link(pid: int, what: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{what}").removesuffix(" (deleted)")
    except OSError:  # ended meanwhile, or another user's
        return ""
