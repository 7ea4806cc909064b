"""Prometheus and its promtool: the system's, else of Debian's package, which starts no service here."""

from __future__ import annotations

import os
import shutil
from functools import cache

import pytest

from deploy.local import debian, state
from deploy.local.errors import StackError

RULES = state.ROOT / "deploy/monitoring/alerts.yml"
_UNPACKED = state.LOCAL / "packages" / "prometheus"


@cache
def find(program: str) -> str:
    """Give the path of ``prometheus`` or ``promtool``. Missing, it skips the test on a laptop and fails it in CI."""
    try:
        with state.alone(_UNPACKED.parent):
            if not _found(program):
                debian.install("prometheus") if debian.is_root() else debian.unpack("prometheus", _UNPACKED)
    except StackError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {program}: {error}")
    return _found(program) or program


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:{_UNPACKED / 'usr/bin'}")
