"""Case k: how long a sender waits for ``import``: the wheel is messages and publisher."""

from __future__ import annotations

import subprocess
import sys

from bench import ours
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from deploy.local import state

TIMED = "import time; a = time.perf_counter(); import shared.publisher, shared.messages; print(time.perf_counter() - a)"


def imported(lab: Lab, count: int) -> Sample:
    """Import it in new processes, one after another."""
    took = []
    for _ in range(count):
        command = [sys.executable, "-c", TIMED]
        took.append(float(subprocess.check_output(command, cwd=state.ROOT)))  # noqa: S603 (our own text)
    return Sample(count, sum(took), [1000 * seconds for seconds in took])


CASES = [Case("k", "import the publisher and all messages", "imports", 20, [Way(ours.NAME, imported)], least=3)]
