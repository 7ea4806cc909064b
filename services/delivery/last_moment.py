"""The last moment to call a provider, looked at right before the bytes that count, however long the way there took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.errors import StaleJob
from shared.failpoints import failpoint

_moment: ContextVar[float] = ContextVar("last_moment", default=math.inf)


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Let a provider be called until then, by ``time.monotonic()``, which goes on while a process stands still."""
    before = _moment.set(moment)
    try:
        yield
    finally:
        _moment.reset(before)


def look() -> None:
    """Go on if there is still time.

    Raises:
        StaleJob: this process stood still meanwhile, and another one may have the job by now.
    """
    moment = _moment.get()
    if moment < math.inf:
        failpoint("last-moment")
    if time.monotonic() > moment:
        raise StaleJob
