"""Celery and stock Dramatiq on the same RabbitMQ, each with one worker process and threads like ours."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.place import Place
from deploy.local import state

PROGRAMS = Path(__file__).with_name("python")
VENV = state.LOCAL / "bench" / "python"
HELD = 16  # messages a thread, as ours holds in case c
PATHS = {"PYTHONPATH": f"{state.ROOT}:{PROGRAMS}"}


@dataclass(frozen=True)
class Peer:
    """One of them; ``command`` starts its worker."""

    name: str
    module: str
    command: tuple[str, ...]

    def missing(self) -> str | None:
        """Say why it cannot run here."""
        installed = (VENV / "bin" / self.command[0]).exists()
        return None if installed else f"{self.name} is not installed: type 'make bench-peers'"

    def send(self, place: Place, *arguments: object, lines: Iterable[str] = ()) -> None:
        """Publish as ``send.py`` can, and wait until that is done."""
        place.finish(self.sending(place, *arguments, lines=lines), "sender")

    def sending(self, place: Place, *arguments: object, lines: Iterable[str] = ()) -> subprocess.Popen[bytes]:
        """Begin to publish."""
        given = place.directory / "lines"
        given.write_text("\n".join(lines))
        with given.open() as body:
            command = [str(VENV / "bin" / "python"), "send.py", self.module, *map(str, arguments)]
            return place.start("sender", command, PATHS, stdin=body, cwd=PROGRAMS)

    def work(self, place: Place, processes: int, threads: int) -> None:
        """Start its worker."""
        given = {"processes": processes, "threads": threads, "all": processes * threads}
        first, *rest = (part.format(**given) for part in self.command)
        held = {"dramatiq_queue_prefetch": str(HELD * threads)}  # Celery's stands in its program
        place.start("worker", [str(VENV / "bin" / first), *rest], PATHS | held, cwd=PROGRAMS)


_QUIET = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle")
CELERY = Peer(
    "Celery", "celery_peer", ("celery", "-A", "celery_peer", "worker", "--pool", "threads", "-c", "{all}", *_QUIET)
)
DRAMATIQ = Peer(
    "stock Dramatiq",
    "dramatiq_peer",
    ("dramatiq", "dramatiq_peer", "--processes", "{processes}", "--threads", "{threads}"),
)
PEERS = (CELERY, DRAMATIQ)
