"""Group commit: threads that come while one transaction runs are served together by the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared import db

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Request(Generic[I, R]):
    item: I
    served: bool = False
    results: Sequence[R] = ()  # one, or none: it must be done alone


class GroupCommit(Generic[I, R]):
    """Do one piece of work for each caller, and one transaction for all that wait.

    One wait for the disk serves them all, so it is many times faster with many threads and no slower with one.

    Parameters:
        work: does a list in one transaction of its own, all or nothing, and gives a result for each, in order. When it
            fails for several, each caller does its own part alone, so that nobody suffers from another's.

    Example:
        >>> finish = GroupCommit(finish_all)
        >>> finish(job)  # from any thread
    """

    def __init__(self, work: Callable[[Sequence[I]], Sequence[R]]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._waiting: deque[_Request[I, R]] = deque()

    def __call__(self, item: I) -> R:
        """Have an item done, and give its result.

        Raises:
            Stopping: when the process is to stop before the database is back.
        """
        request: _Request[I, R] = _Request(item)
        self._waiting.append(request)
        with self._turn:
            if not request.served:
                self._serve()
        results = request.results or db.persist(lambda: self._work([item]))
        return results[0]

    def _serve(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        results: Sequence[R | None] = ()
        try:
            results = self._work([request.item for request in group])
        except Exception:  # noqa: BLE001  # each does its own part alone then, and meets its own error
            results = ()
        for number, request in enumerate(group):
            request.served, request.results = True, results[number : number + 1]
