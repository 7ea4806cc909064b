"""Whom a server runs as that refuses root, and where that account can reach its files."""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

from deploy.local.errors import StackError

NAME = "giftcard-jobs"
_OUTSIDE = Path("/var/lib/giftcard-jobs")


def name() -> str | None:
    """Name the account, made at first by root; None where whoever runs this is no root and so is the account."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(NAME)
    except KeyError:
        _add()
    return NAME


def home(directory: Path) -> Path:
    """Give where the account keeps what belongs to a directory: there, or outside if it cannot get there.

    A checkout in root's own home is such a case. The place is made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    place = directory if can_enter(directory) else _OUTSIDE / hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    place.mkdir(parents=True, exist_ok=True)
    return place


def can_enter(directory: Path) -> bool:
    """Tell whether the account gets into a directory, which must let it through all of those above."""
    return run(["test", "-x", directory]).returncode == 0


def run(command: list[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as the account, and give what it said."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **as_account(), **options)


def as_account() -> dict[str, Any]:
    """Give the options of :mod:`subprocess` that make a process the account's."""
    account = name()
    return {"user": account, "group": account, "extra_groups": []} if account else {}


def _add() -> None:
    options = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    made = subprocess.run(["useradd", *options, NAME], capture_output=True, text=True, check=False)
    if made.returncode:
        raise StackError(
            f"PostgreSQL does not run as root, and 'useradd {NAME}' failed ({made.stderr.strip()}):"
            " work as an ordinary user, or set JOBS_DATABASE_URL"
        )
