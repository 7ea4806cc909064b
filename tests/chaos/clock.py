"""A wall clock that is an hour off, for one process: libfaketime, from the system or from its package."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.local import debian, state
from deploy.local.errors import ServerMissing

_LIBRARY = "usr/lib/*/faketime/libfaketimeMT.so.1"
_UNPACKED = state.LOCAL / "packages" / "faketime"


def an_hour_ahead() -> tuple[str, ...]:
    """Give what stands before a command whose process shall see a wall clock an hour ahead; its timers stay true.

    Raises:
        ServerMissing: if libfaketime is neither here nor installable.
    """
    with state.alone(_UNPACKED.parent):
        if not _library():
            if debian.is_root():
                debian.install("faketime")
            else:
                debian.unpack("faketime", _UNPACKED)
    if library := _library():
        return ("env", f"LD_PRELOAD={library}", "FAKETIME=+1h", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    raise ServerMissing("libfaketime is missing, which sets one scheduler's clock wrong: install the package faketime")


def lines_ahead(log: Path) -> int:
    """Count the log lines whose time lies more than half an hour in the future: proof that the clock is off."""
    limit = datetime.now(UTC) + timedelta(minutes=30)
    found = re.findall(r'"timestamp": ?"([^"]+)"', log.read_text(errors="replace")) if log.exists() else []
    return sum(datetime.fromisoformat(at) > limit for at in found)


def _library() -> Path | None:
    return next((file for root in (Path("/"), _UNPACKED) for file in root.glob(_LIBRARY)), None)
