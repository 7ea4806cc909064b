"""Which versions of the peers are installed."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import distributions

from bench.peers import amqp, bullmq, redis


def installed() -> dict[str, str]:
    """Give the version of each by name; what is not installed is left out."""
    return {**_node(), **_redis(), **_python()}


def _node() -> dict[str, str]:
    found = {}
    for package in ("bullmq", "@prisma/client", "pg"):
        about = bullmq.HOME / "node_modules" / package / "package.json"
        if about.exists():
            found[package] = json.loads(about.read_text())["version"]
    return found | ({"node": _says("node", "--version")} if found else {})


def _redis() -> dict[str, str]:
    server = redis.program()
    return {"redis": _says(server, "--version")} if server else {}


def _python() -> dict[str, str]:
    places = [str(place) for place in amqp.VENV.glob("lib/python*/site-packages")]
    return {one.name: one.version for one in distributions(path=places) if one.name == "celery"}


def _says(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (found by us)
    number = re.search(r"\d+(\.\d+)+", done.stdout)
    return number[0] if number else "unknown"
