"""BullMQ on a Redis that waits for the disk: the seed's worker with plain pg, and with Prisma as in ``seed.txt``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.peers import redis
from bench.place import Place
from deploy.local import state

PROGRAMS = Path(__file__).with_name("node")
HOME = state.LOCAL / "bench" / "node"


@dataclass(frozen=True)
class Peer:
    """One of both; ``library`` asks PostgreSQL."""

    name: str
    library: str

    def missing(self) -> str | None:
        """Say why it cannot run here."""
        there = shutil.which("node") and redis.program() and (HOME / "node_modules" / "bullmq").exists()
        return None if there else f"{self.name} is not installed: type 'make bench-peers'"

    def fill(self, place: Place, cards: Iterable[str]) -> None:
        """Add one job per card, in bulk."""
        place.finish(self._start(place, "filler", "fill.mjs", lines=cards), "filler")

    def work(self, place: Place, concurrency: int) -> None:
        """Start its worker."""
        self._start(place, "worker", "worker.mjs", self.library, str(concurrency))

    def tick(self, place: Place) -> subprocess.Popen[bytes]:
        """Let the seed's cron find what is due and add it."""
        return self._start(place, "cron", "cron.mjs", self.library)

    def _start(self, place: Place, role: str, *command: str, lines: Iterable[str] = ()) -> subprocess.Popen[bytes]:
        """Start a program beside the installed packages, where Node.js looks for them."""
        for program in PROGRAMS.glob("*.mjs"):
            shutil.copy(program, HOME)
        given = place.directory / "lines"
        given.write_text("\n".join(lines))
        with given.open() as body:
            return place.start(role, ["node", *command], {"BENCH_REDIS": self._redis(place)}, stdin=body, cwd=HOME)

    def _redis(self, place: Place) -> str:
        url = place.lab.redis
        place.pids |= place.lab.pids()
        return url


PG = Peer("BullMQ + pg", "pg")
PRISMA = Peer("BullMQ + Prisma", "prisma")
PEERS = (PRISMA, PG)
