"""Worker processes that are killed and started again, as a bad day would do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

# Where a worker that replaces a killed one dies in its turn: nowhere, or within the first message that gets so far.
POINTS = ("", "sending=kill", "accepted=kill", "effect=kill")


class Fleet:
    """Keep a scheduler and some delivery workers running.

    Parameters:
        module: whose actors the workers run.
        log: where all of them write.
        dice: chooses who dies, and where its successor does.
    """

    def __init__(self, module: str, log: Path, dice: Random, workers: int) -> None:
        self._module, self._dice = module, dice
        self._log = log.open("a")
        self._scheduler = self._start("-m", "services.scheduler")
        self._workers = [self._worker() for _ in range(workers)]
        self.deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in (self._scheduler, *self._workers):
            _kill(child)
        self._log.close()

    def kill_one(self) -> None:
        """Kill a worker as by ``kill -9``, and start another, which may die of itself later on."""
        self._kill(self._dice.randrange(len(self._workers)), self._dice.choice(POINTS))

    def _kill(self, n: int, failpoints: str) -> None:
        _kill(self._workers[n])
        self.deaths += 1
        self._workers[n] = self._worker(failpoints)

    def keep_up(self) -> None:
        """Start another worker for each that has died of itself."""
        for n, child in enumerate(self._workers):
            if child.poll() is not None:
                self._kill(n, "")

    def _worker(self, failpoints: str = "") -> subprocess.Popen[bytes]:
        return self._start("-m", "dramatiq", self._module, "--processes", "1", failpoints=failpoints)

    def _start(self, *arguments: str, failpoints: str = "") -> subprocess.Popen[bytes]:
        values = {"JOBS_HTTP_PORT": "0", "JOBS_FAILPOINTS": failpoints}
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, env=os.environ | values, start_new_session=True, stderr=self._log)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
