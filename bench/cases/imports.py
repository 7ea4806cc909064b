"""Case k: how long a sender waits for ``import``: the wheel is messages and publisher."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from bench import ours
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from deploy.local import state

TIMED = "import time; a = time.perf_counter(); {imports}; print(time.perf_counter() - a)"
WHEEL = "import shared.publisher, shared.messages"
# The least that anything of this kind takes: pika, and one model of pydantic.
LEAST = "import pika, pydantic; type('A', (pydantic.BaseModel,), {'__module__': __name__})"


def imported(imports: str, lab: Lab, count: int) -> Sample:
    """Import it in new processes, one after another."""
    took = []
    for _ in range(count):
        command = [sys.executable, "-c", TIMED.replace("{imports}", imports)]
        took.append(float(subprocess.check_output(command, cwd=state.ROOT)))  # noqa: S603 (our own text)
    return Sample(count, sum(took), [1000 * seconds for seconds in took])


WAYS = [Way(ours.NAME, partial(imported, WHEEL)), Way("pika and pydantic alone", partial(imported, LEAST))]
CASES = [Case("k", "import the publisher and all messages", "imports", 20, WAYS, least=3)]
