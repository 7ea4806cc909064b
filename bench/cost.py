"""What a run costs: CPU seconds and memory of each process with its children, from one look at ``/proc`` a second."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LOOK_EVERY_S = 1.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Seen:
    """One process at one moment; ``born`` and ``pid`` together are never given to another one."""

    pid: int
    parent: int
    spent_s: float
    born: int

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
    _spent: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)

    def look(self, family: list[Seen], *, first: bool = False) -> None:
        """Add one look; what was spent before the first one does not count."""
        for one in family:
            key = one.pid, one.born
            self.cpu_s += one.spent_s - self._spent.get(key, one.spent_s if first else 0)
            self._spent[key] = one.spent_s
        memory = [one.memory_mb() for one in family] or [(0, 0)]
        self.peak_mb = max(self.peak_mb, sum(own for own, _ in memory) + max(shared for _, shared in memory))
        self.largest_mb = max(self.largest_mb, *(own + shared for own, shared in memory))
        self.processes = max(self.processes, len(family))


def everything() -> dict[int, list[Seen]]:
    """Give all processes of this machine by their parent."""
    children: dict[int, list[Seen]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (one := _seen(int(entry.name))):
            children.setdefault(one.parent, []).append(one)
    return children


def _seen(pid: int) -> Seen | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Seen(pid, int(fields[1]), (int(fields[11]) + int(fields[12])) * TICK_S, int(fields[19]))


def family(pid: int, children: Mapping[int, list[Seen]]) -> list[Seen]:
    """Give a process and all below it; of this one only itself, since the others have roles of their own."""
    head = _seen(pid)
    found = [head] if head else []
    for one in found:
        found += children.get(one.pid, []) if pid != os.getpid() else []
    return found


@contextmanager
def watched(pids: Mapping[str, int]) -> Iterator[dict[str, Usage]]:
    """Watch processes by role while in the context; a process that is added to ``pids`` meanwhile is seen, too."""
    usages: dict[str, Usage] = {}
    over = threading.Event()

    def look(*, first: bool = False) -> None:
        children = everything()
        for role, pid in list(pids.items()):
            usages.setdefault(role, Usage()).look(family(pid, children), first=first)

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
