"""The same system in containers, by docker-compose.yml: built, started, restarted and taken away."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import containers, state
from deploy.local.errors import ServerMissing, StartFailed
from deploy.local.services import Service
from deploy.local.stack import Stack
from deploy.secrets import files, made

DIRECTORY = state.LOCAL / "compose-run"
_PATIENCE_S = 900  # the first time, every image is built
# What docker-compose.yml publishes on loopback.
_PORTS = {"postgres": 25432, "rabbitmq": 25672, "outside": 28025}


def up(*, extra_env: Mapping[str, str] | None = None, fresh: bool = False) -> Stack:
    """Build what has changed, start it, and return once every container is healthy.

    Parameters:
        extra_env: more ``JOBS_*`` variables for the services; they win.
        fresh: begin with an empty database and broker.

    Raises:
        ServerMissing: no Docker engine answers, or it knows no ``docker compose``.
        StartFailed: with what Compose said last.
    """
    _need_engine()
    if fresh:
        down(delete=True)
    files.write(files.DIRECTORY, made("postgres", "rabbitmq"))
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in (extra_env or {}).items())
    (files.DIRECTORY / "settings.env").write_text("".join(lines))
    run("up", "--build", "--wait")
    return look()


def look() -> Stack:
    """Give the shop's view of it: its database, its broker, and the inbox of all mails and SMS."""
    env = {
        "JOBS_DATABASE_URL": _outside("migration_database_url", "postgres"),
        "JOBS_RABBITMQ_URL": _outside("upstream_rabbitmq_url", "rabbitmq"),
        "JOBS_CODE_KEYS": (files.DIRECTORY / "delivery_code_keys").read_text(),
        "JOBS_CONSOLE_URL": "http://127.0.0.1:28090",
        "CONSOLE_LOGIN": f"admin:{(files.DIRECTORY / 'console_password').read_text()}",
    }
    inbox = Service("outside", "RUNNING", 0, _PORTS["outside"], Path(os.devnull), True)
    return Stack(DIRECTORY, env, {"outside": inbox})


def down(*, delete: bool = False) -> None:
    """Remove the containers, if there are any; the data stay, unless they are to be deleted."""
    if files.DIRECTORY.exists() and shutil.which("docker") and containers.available():
        run("--profile", "*", "down", "--remove-orphans", *(["--volumes"] if delete else []))


def run(*arguments: str) -> str:
    """Run ``docker compose`` on docker-compose.yml, and give what it printed.

    Raises:
        StartFailed: with what it said last.
    """
    command = ["docker", "compose", *arguments]
    done = subprocess.run(command, cwd=state.ROOT, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise StartFailed(f"'{' '.join(command)}' failed; see 'docker compose logs':\n{said}")
    return done.stdout


def _need_engine() -> None:
    if not (shutil.which("docker") and containers.available()):
        raise ServerMissing("no Docker engine answers: start one, or name it in DOCKER_HOST")


def _outside(file: str, server: str) -> str:
    """Read a URL that is meant for containers, and give it as this machine reaches it."""
    parts = urlsplit((files.DIRECTORY / file).read_text())
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@127.0.0.1:{_PORTS[server]}").geturl()
