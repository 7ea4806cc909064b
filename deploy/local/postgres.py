"""A private PostgreSQL server in a directory, on a loopback port of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from functools import partial
from pathlib import Path

import psycopg

from deploy.local import account, processes, programs, state
from deploy.local.errors import StartFailed

_OFF_IN_TESTS = ("fsync", "full_page_writes", "synchronous_commit")


def start(directory: Path, *, durable: bool = True, shared_buffers: str = "128MB") -> str:
    """Start the server of a directory, or find it running, and give the URL of its superuser.

    Parameters:
        durable: False spares every wait for the disk: for data that may be lost, such as those of tests.
        shared_buffers: PostgreSQL's own cache, in its units.

    Raises:
        ServerMissing: if PostgreSQL is neither here nor installable.
        StartFailed: with the end of its log.
    """
    programs.check_platform()
    directory = directory.resolve()
    with state.alone(directory):
        launch, check = partial(_launch, directory, durable, shared_buffers), partial(_check, directory)
        processes.ensure(_process(directory), launch, check, directory / "postgres.log")
    return url(directory)


def url(directory: Path, database: str = "postgres") -> str:
    """Give the superuser's URL of a database on the server of a directory that was started once."""
    facts = state.read(directory)
    return f"postgresql://postgres:{facts['password']}@127.0.0.1:{facts['ports']['postgres']}/{database}"


def crash(directory: Path) -> int:
    """Stop the server of a directory as a crash does (``-m immediate``), and give its pid; 0: it did not run."""
    process = _process(directory.resolve())
    if process:
        processes.end(process, signal.SIGQUIT)
    return process.pid if process else 0


def running(directory: Path) -> bool:
    """Tell whether the server of a directory runs."""
    return _process(directory) is not None


def stop(directory: Path) -> None:
    """Stop the server of a directory with all its processes; nothing happens if none runs."""
    directory = directory.resolve()
    if not directory.exists():
        return
    with state.alone(directory):
        if process := _process(directory):
            processes.end(process, signal.SIGINT)
        _end_leftovers(directory)


def delete(directory: Path) -> None:
    """Stop the server of a directory and drop its data."""
    directory = directory.resolve()
    if not directory.exists():
        return
    stop(directory)
    for place in {directory, account.home(directory)}:
        shutil.rmtree(place)


def _process(directory: Path) -> processes.Process | None:
    return processes.recorded(directory / "pid.json")


def _launch(directory: Path, durable: bool, shared_buffers: str) -> processes.Process:
    _end_leftovers(directory)
    data = _data(directory)
    made_by = data / "PG_VERSION"
    binaries = programs.postgres(int(made_by.read_text()) if made_by.exists() else None)
    if not made_by.exists() or "password" not in state.read(directory):
        password = state.remember(directory, password=secrets.token_urlsafe(24))["password"]
        _initialise(binaries, data, password, durable)
    port = state.ports(directory, "postgres")["postgres"]
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 200}
    options["shared_buffers"] = shared_buffers
    options |= {} if durable else dict.fromkeys(_OFF_IN_TESTS, "off")
    return processes.spawn(
        [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
        record=directory / "pid.json",
        log=directory / "postgres.log",
        mark=directory,
        env=_environment(data),
        cwd=data,
        **account.as_account(),
    )


def _initialise(binaries: Path, data: Path, password: str, durable: bool) -> None:
    draft, password_file = data.with_name("data.new"), data.with_name("password")
    for place in (draft, data):  # of a first start that was cut short
        shutil.rmtree(place, ignore_errors=True)
    draft.mkdir(mode=0o700)
    state.write_private(password_file, password)
    if owner := account.name():
        shutil.chown(draft, owner, group=owner)
        shutil.chown(password_file, owner)
    options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    options += ["--no-instructions", f"--pwfile={password_file}", "-D", str(draft)]
    options += [] if durable else ["--no-sync"]
    done = account.run([binaries / "initdb", *options], env=_environment(draft), cwd=draft)
    password_file.unlink()
    if done.returncode:
        raise StartFailed(f"PostgreSQL's initdb failed in {draft}:\n{done.stdout}{done.stderr}")
    draft.rename(data)


def _check(directory: Path) -> None:
    try:
        psycopg.connect(url(directory), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        raise ConnectionError(str(error)) from error


def _end_leftovers(directory: Path) -> None:
    """End what a killed server left behind: its children hold the shared memory that a new server needs."""
    data = _data(directory)
    for process in [*processes.marked(directory), *processes.working_in(data, "postgres")]:
        processes.end(process, signal.SIGQUIT, grace_s=5)
    (data / "postmaster.pid").unlink(missing_ok=True)  # after a reboot, its pid may be another program's


def _data(directory: Path) -> Path:
    return account.home(directory) / "data"


def _environment(data: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(data), "LC_ALL": "C.UTF-8"}
