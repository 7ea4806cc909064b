"""Named points at which a test can kill or stop this process. Off, a point costs one look at an empty dict."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Each is a place between two things that must not come apart. docs/failure_modes.md says what each one proves.
POINTS = {
    "relay-claimed": "a due row is locked, and not published yet",
    "relay-published": "the broker has confirmed it, and the row does not say so yet",
    "outbox-published": "the broker has a fact, and the outbox does not say so yet",
    "ticking": "a tick is found, and its job not made yet",
    "rescuing": "stalled and lost jobs are due again, and that is not committed yet",
    "claimed": "a job is claimed, and nothing done yet",
    "effect": "the work is done, and not committed yet",
    "committed": "effect and outcome are committed, and the message is not acked yet",
    "failing": "the work has failed, and that is not written down yet",
    "refusing": "a body is no message, and that is not committed yet",
    "giving-back": "a process ends, and has not given back what it runs yet",
    "slice": "one slice of many is committed",
    "handing-off": "a delivery is on record, and its sending not asked for yet",
    "sending": "an attempt is written down, and the provider not called yet",
    "last-moment": "the provider is on the line, and has not got the bytes that count",
    "refused": "the provider has refused, and that is not written down yet",
    "accepted": "the provider has accepted, and that is not written down yet",
    "settling": "an unknown outcome has settled, and nobody has been asked or sent to yet",
    "asked": "the provider has said that it has it, and that is not written down yet",
    "falling-back": "a gift goes the other way, and its sending is not asked for yet",
    "report-taken": "a provider's report is in the inbox, and not applied yet",
    "report-applied": "it is applied, and the inbox does not say so yet",
}
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
# A test build is one that has its tests beside it. Images carry none, so nothing can be armed there by mistake.
TESTS = Path(__file__).parents[1] / "tests" / "failpoints"

_armed: dict[str, signal.Signals] = {}


def failpoint(name: str) -> None:
    """Die here, as by ``kill -9``, or stand still, as by ``kill -STOP``, if a test has armed this point."""
    if _armed and name in _armed:
        _meet(name)


def _meet(name: str) -> None:
    """Leave a line on disk first, so that a test can count who came here and died, whatever else died today."""
    if journal := os.environ.get("JOBS_FAILPOINTS_JOURNAL"):
        line = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(line, f"{name} {os.getpid()}\n".encode())
        os.fsync(line)
        os.close(line)
    os.kill(os.getpid(), _armed[name])


def arm(wanted: str) -> None:
    """Arm these points and no others, such as ``claimed=kill,sending=stop``; nothing disarms all.

    Raises:
        SystemExit: no such point, nothing of the kind can be done, or this is no test build.
    """
    _armed.clear()
    if wanted and not TESTS.exists():
        raise SystemExit("JOBS_FAILPOINTS is for test builds, and this is none: it has no tests/. Unset it")
    for pair in filter(None, wanted.split(",")):
        name, _, deed = pair.strip().partition("=")
        if name not in POINTS:
            raise SystemExit(f"JOBS_FAILPOINTS: no point is called {name!r}: use one of {', '.join(POINTS)}")
        if deed not in SIGNALS:
            raise SystemExit(f"JOBS_FAILPOINTS: {name} cannot {deed!r}: use {name}=kill or {name}=stop")
        _armed[name] = SIGNALS[deed]


arm(os.environ.get("JOBS_FAILPOINTS", ""))  # read once: a point must cost nothing when off
