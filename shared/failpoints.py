"""Named points at which a test can kill this process. Off, a point costs one look at an empty dict."""

from __future__ import annotations

import os
import signal

# JOBS_FAILPOINTS="claimed=kill,recorded=kill"; read once, since a point must cost nothing when off.
_armed = dict(pair.split("=", 1) for pair in os.environ.get("JOBS_FAILPOINTS", "").split(",") if "=" in pair)


def failpoint(name: str) -> None:
    """Die here, as by ``kill -9``, if a test has armed this point."""
    if _armed and _armed.get(name) == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
