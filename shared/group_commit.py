"""Group commit: threads that come while one transaction runs are served together by the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, LiteralString, TypeVar

from shared import db

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")

# What waits for somebody else's lock goes on alone, and holds up nobody who came with it or after it.
HURRY: LiteralString = "SELECT set_config('lock_timeout', '500ms', true)"


@dataclass(slots=True, eq=False)
class _Request(Generic[I, R]):
    items: Sequence[I]
    served: bool = False
    results: Sequence[R] = ()  # one for each, or none: each must be done alone


class GroupCommit(Generic[I, R]):
    """Do one piece of work for each caller, and one transaction for all that wait.

    One wait for the disk serves them all, so it is many times faster with many threads and no slower with one.

    Parameters:
        work: does a list in a transaction, and gives a result for each, in order. When it fails, or waits for a lock,
            each caller does its own part alone, so that nobody suffers from another's.

    Example:
        >>> finish = GroupCommit(finish_all)
        >>> finish(job)  # from any thread
    """

    def __init__(self, work: Callable[[db.Connection, Sequence[I]], Sequence[R]]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._waiting: deque[_Request[I, R]] = deque()

    def __call__(self, item: I) -> R:
        """Have an item done, and give its result.

        Raises:
            Stopping: when the process is to stop before the database is back.
        """
        results = self.together([item]) or db.persist(lambda: self._alone(item))
        return results[0]

    def together(self, items: Sequence[I]) -> Sequence[R]:
        """Have some items done at once, and give their results in order; none, when each must be done alone."""
        request: _Request[I, R] = _Request(items)
        self._waiting.append(request)
        with self._turn:
            if not request.served:
                self._serve()
        return request.results

    def _alone(self, item: I) -> Sequence[R]:
        with db.transaction() as connection:
            return self._work(connection, [item])

    def _serve(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        results: Sequence[R] = ()
        try:
            with db.transaction() as connection:
                connection.execute(HURRY)
                results = self._work(connection, [item for request in group for item in request.items])
        except Exception:  # noqa: BLE001  # each does its own part alone then, and meets its own error
            results = ()
        given = iter(results)
        for request in group:
            request.served, request.results = True, list(islice(given, len(request.items)))
