"""What a directory of the local stack remembers between runs: ports and passwords, and one starter at a time."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"

# Below the range that the kernel takes for outgoing connections, which would otherwise sit on a remembered port.
PORTS = range(20000, 32000)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Let one process at a time start or stop what lives in a directory; the others wait."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read(directory: Path) -> dict[str, Any]:
    """Give what the directory remembers, nothing if it is new."""
    try:
        return dict(json.loads((directory / "state.json").read_text()))
    except FileNotFoundError:
        return {}


def remember(directory: Path, **facts: Any) -> dict[str, Any]:
    """Add facts to what the directory remembers, readable by its owner only, and give all of it."""
    state = {**read(directory), **facts}
    write_private(directory / "state.json", json.dumps(state, indent=2))
    return state


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def ports(directory: Path, *names: str) -> dict[str, int]:
    """Give each name the loopback port it had, or a free one at first and when another program took it.

    Ask only while nothing of the directory runs: its own servers would count as other programs.
    """
    known = read(directory).get("ports", {})
    chosen: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        chosen[name] = port if port and is_free(port) else _free_port(taken={*known.values(), *chosen.values()})
    remember(directory, ports={**known, **chosen})
    return chosen


def is_free(port: int) -> bool:
    """Tell whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that lingers does not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port(taken: set[int]) -> int:
    return next(port for port in random.sample(PORTS, len(PORTS)) if port not in taken and is_free(port))
