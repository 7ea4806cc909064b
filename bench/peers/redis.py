"""A private Redis that waits for the disk, as PostgreSQL does: what BullMQ keeps its jobs in."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from deploy.local import debian, processes, state
from deploy.local.errors import ServerMissing

UNPACKED = state.LOCAL / "packages" / "redis"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def program() -> str | None:
    """Give the path of the server, None if there is none."""
    return shutil.which("redis-server", path=f"{os.defpath}:/usr/local/bin:{UNPACKED / 'usr/bin'}")


def start(directory: Path) -> str:
    """Start a server in a directory, or find it running, and give its URL.

    Raises:
        ServerMissing: there is no Redis here.
        StartFailed: with the end of its log.
    """
    directory = directory.resolve()
    with state.alone(directory):
        found, log = processes.recorded(directory / "pid.json"), directory / "redis.log"
        processes.ensure(found, lambda: _launch(directory, log), lambda: _check(directory), log)
    return f"redis://127.0.0.1:{_port(directory)}"


def delete(directory: Path) -> None:
    """Stop the server of a directory, if one runs, and drop its data."""
    if process := processes.recorded(directory / "pid.json"):
        processes.end(process)
    shutil.rmtree(directory, ignore_errors=True)


def _launch(directory: Path, log: Path) -> processes.Process:
    server = program()
    if server is None:
        raise ServerMissing("Redis is missing: type 'make bench-peers', or install redis-server")
    port = state.ports(directory, "redis")["redis"]
    command = [server, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), *DURABLE]
    record, env = directory / "pid.json", {"PATH": os.defpath}
    return processes.spawn(command, record=record, log=log, mark=directory, env=env, cwd=directory)


def _port(directory: Path) -> int:
    return int(state.read(directory)["ports"]["redis"])


def _check(directory: Path) -> None:
    with socket.create_connection(("127.0.0.1", _port(directory)), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        if not connection.recv(16).startswith(b"+PONG"):
            raise ConnectionError("it is still loading")


if __name__ == "__main__":
    if not program():
        if debian.is_root():
            debian.install("redis-server")
        else:
            debian.unpack("redis-server", UNPACKED)
