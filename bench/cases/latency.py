"""Case f: how late a job starts after its publish and after its time: idle, at 200 a second, all at one instant."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

from bench import journal, ours
from bench.cost import Usage
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from bench.peers import amqp
from bench.place import Place
from shared.messages import PruneHistory

RATE_PER_S, IDLE_PER_S, THREADS, WARM = 200, 10, 8, 20
LEAD_S = 8  # from writing the rows to the first one's time: our scheduler starts meanwhile


def published(rate: int, lab: Lab, count: int) -> Sample:
    """Publish at a steady rate to our worker; each message says when it was sent."""
    with lab.place() as place, ours.publisher(place) as publisher:
        _warm_worker(place)
        publisher.send(PruneHistory())  # connects
        with place.cost() as cost:
            begin = time.time()
            for n in range(count):
                time.sleep(max(0, begin + n / rate - time.time()))
                publisher.send(PruneHistory(as_of=datetime.now(UTC)))
            return _sample(place.noted(WARM + 1 + count)[WARM + 1 :], cost)


def due(rate: int, lab: Lab, count: int) -> Sample:
    """Let rows come due in our table, so many a second; a rate of 0: all at the same instant."""
    with lab.place() as place:
        _warm_worker(place)
        ours.due(place, count, at=time.time() + LEAD_S, every_s=1 / rate if rate else 0)
        with place.cost() as cost:
            place.scheduler()
            return _sample(place.noted(WARM + count)[WARM:], cost, paced=rate > 0)


def peer_published(peer: amqp.Peer, rate: int, lab: Lab, count: int) -> Sample:
    """Publish at a steady rate to a peer's worker."""
    with lab.place() as place:
        _warm_peer(place, peer)
        with place.cost() as cost:
            peer.send(place, "paced", count, rate)
            return _sample(place.noted(WARM + count)[WARM:], cost)


def peer_due(peer: amqp.Peer, rate: int, lab: Lab, count: int) -> Sample:
    """Give a peer's worker tasks for a later time, as its manual says."""
    with lab.place() as place:
        _warm_peer(place, peer)
        at = time.time() + 3 + count / 300  # all are published before the first is due
        with place.cost() as cost:
            peer.send(place, *(("due", count, rate, at) if rate else ("instant", count, at)))
            return _sample(place.noted(WARM + count)[WARM:], cost, paced=rate > 0)


def _warm_worker(place: Place) -> None:
    ours.publish(place, ours.noops(WARM))
    place.worker("bench.noop", maintenance__concurrency=THREADS)
    place.noted(WARM)


def _warm_peer(place: Place, peer: amqp.Peer) -> None:
    peer.send(place, "fill", WARM)
    peer.work(place, 1, THREADS)
    place.noted(WARM)


def _sample(pairs: list[tuple[float, float]], cost: dict[str, Usage], *, paced: bool = True) -> Sample:
    """Give no rate where it is the pace that was set."""
    late_ms = [1000 * (started - meant) for meant, started in pairs]
    early = sum(late < 0 for late in late_ms)
    ops = 0 if paced else len(pairs)
    return Sample(ops, journal.span(pairs), late_ms, cost, {"early": early})


def _case(key: str, title: str, full: int, mine: Way, peers: list[Way]) -> Case:
    return Case(key, title, "jobs", full, [mine, *peers], least=100)


CASES = [
    *(
        _case(
            key,
            f"from publish to start, {rate} a second; times are how late",
            30 * rate,
            Way(ours.NAME, partial(published, rate)),
            [Way(one.name, partial(peer_published, one, rate), one.missing) for one in amqp.PEERS],
        )
        for key, rate in (("f0", IDLE_PER_S), ("f1", RATE_PER_S))
    ),
    _case(
        "f2",
        f"from due to start, {RATE_PER_S} a second; times are how late",
        6_000,
        Way(ours.NAME, partial(due, RATE_PER_S)),
        [Way(one.name, partial(peer_due, one, RATE_PER_S), one.missing) for one in amqp.PEERS],
    ),
    _case(
        "f3",
        "from due to start, all due at the same instant; times are how late",
        50_000,
        Way(ours.NAME, partial(due, 0)),
        [Way(one.name, partial(peer_due, one, 0), one.missing) for one in amqp.PEERS],
    ),
]
