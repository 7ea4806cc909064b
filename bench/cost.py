"""What a run costs: CPU seconds and memory of each process with its children, from one look at ``/proc`` a second."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LOOK_EVERY_S = 1.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Seen:
    """One process at one moment; ``spent_s`` holds its own CPU time and that of its children that have ended."""

    pid: int
    parent: int
    spent_s: float

    def memory_mb(self) -> tuple[float, float]:
        """Give what it has for itself, and what it may share with others; nothing once it has ended."""
        try:
            _, resident, shared = map(int, Path(f"/proc/{self.pid}/statm").read_text().split()[:3])
        except (FileNotFoundError, ProcessLookupError):
            return 0, 0
        return (resident - shared) * PAGE_MB, shared * PAGE_MB


@dataclass
class Usage:
    """What a process and its children used: CPU seconds, the most memory in MB, that of the largest, their number.

    Memory is what each has for itself, and once the most that one of them shares: so PostgreSQL's buffers count once.
    """

    cpu_s: float = 0
    peak_mb: float = 0
    largest_mb: float = 0
    processes: int = 0
    _before_s: float = field(default=0, repr=False)

    def look(self, family: list[Seen], *, first: bool = False) -> None:
        """Add one look; what was spent before the first one does not count."""
        spent_s = sum(one.spent_s for one in family)
        if first:
            self._before_s = spent_s
        self.cpu_s = max(self.cpu_s, spent_s - self._before_s)
        memory = [one.memory_mb() for one in family] or [(0, 0)]
        self.peak_mb = max(self.peak_mb, sum(own for own, _ in memory) + max(shared for _, shared in memory))
        self.largest_mb = max(self.largest_mb, *(own + shared for own, shared in memory))
        self.processes = max(self.processes, len(family))


def everything() -> list[Seen]:
    """Give all processes of this machine. Parents are read before their children, so that no CPU time counts twice."""
    pids = sorted(int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return [one for pid in pids if (one := _seen(pid))]


def _seen(pid: int) -> Seen | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Seen(pid, int(fields[1]), sum(map(int, fields[11:15])) * TICK_S)


def family(pid: int, seen: list[Seen]) -> list[Seen]:
    """Give a process and all below it; of this one only itself, since the others have roles of their own."""
    if pid == os.getpid():
        return [Seen(pid, os.getppid(), time.process_time())]
    found = [one for one in seen if one.pid == pid]
    for parent in found:
        found += [one for one in seen if one.parent == parent.pid]
    return found


@contextmanager
def watched(pids: Mapping[str, int]) -> Iterator[dict[str, Usage]]:
    """Watch processes by role while in the context; a process that is added to ``pids`` meanwhile is seen, too."""
    usages: dict[str, Usage] = {}
    over = threading.Event()

    def look(*, first: bool = False) -> None:
        seen = everything()
        for role, pid in list(pids.items()):
            usages.setdefault(role, Usage()).look(family(pid, seen), first=first)

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            look()

    look(first=True)
    watcher = threading.Thread(target=watch, name="cost", daemon=True)
    watcher.start()
    try:
        yield usages
    finally:
        over.set()
        watcher.join()
        look()
