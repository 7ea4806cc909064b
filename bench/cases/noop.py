"""Case b: jobs that do nothing, drained from a full queue. Ours keep a record of each; the peers' do not."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench import ours
from bench.cost import Usage
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from bench.peers import amqp
from bench.place import Place

THREADS, PREFETCH = 8, 64


def mine(processes: int, lab: Lab, count: int, **table: Any) -> Sample:
    """Let our worker drain the queue; ``table`` says what is in the database before, as for ``Lab.place``."""
    with lab.place(**table) as place:
        ours.publish(place, ours.noops(count))
        with place.cost() as cost:
            place.worker(
                "bench.noop", count=processes, maintenance__concurrency=THREADS, maintenance__prefetch=PREFETCH
            )
            return _drained(place, count, cost)


def peer(peer: amqp.Peer, processes: int, lab: Lab, count: int) -> Sample:
    """Let a peer's worker drain the queue."""
    with lab.place() as place:
        peer.send(place, "fill", count)
        with place.cost() as cost:
            peer.work(place, processes, THREADS)
            return _drained(place, count, cost)


def _drained(place: Place, count: int, cost: dict[str, Usage]) -> Sample:
    started = sorted(start for _, start in place.noted(count))
    return Sample(len(started) - 1, started[-1] - started[0], cost=cost)


CASES = [
    Case(
        f"b{processes}",
        f"no-op jobs drained, {processes} worker process{'es' * (processes > 1)} of {THREADS} threads",
        "jobs",
        20_000,
        [
            Way(ours.NAME, partial(mine, processes)),
            *(Way(one.name, partial(peer, one, processes), one.missing) for one in amqp.PEERS),
        ],
        least=100,
    )
    for processes in (1, 2)
]
