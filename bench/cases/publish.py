"""Case a: publish, until the broker has confirmed it."""

from __future__ import annotations

import time
from functools import partial

from bench import journal, ours
from bench.cost import Usage
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from bench.peers import amqp


def mine(size: int, lab: Lab, count: int) -> Sample:
    """Send lists of a size, one after another; a time is that of a whole list."""
    with lab.place() as place, ours.publisher(place) as publisher:
        messages = ours.noops(count)
        publisher.send(messages[0])  # connects
        pairs = []
        with place.cost() as cost:
            for at in range(0, count, size):
                began = time.time()
                publisher.send_many(messages[at : at + size])
                pairs.append((began, time.time()))
        return _sample(count, pairs, cost)


def peer(peer: amqp.Peer, lab: Lab, count: int) -> Sample:
    """Send each message with confirms on: neither peer has another way."""
    with lab.place() as place, place.cost() as cost:
        peer.send(place, "each", count)
        pairs = journal.read(place.journal)
    return _sample(count, pairs, cost)


def _sample(count: int, pairs: list[tuple[float, float]], cost: dict[str, Usage]) -> Sample:
    return Sample(count, journal.span(pairs), [1000 * (ended - began) for began, ended in pairs], cost)


BULK = 1000
PEERS = [Way(one.name, partial(peer, one), one.missing) for one in amqp.PEERS]
CASES = [
    Case("a1", "publish one by one, each confirmed", "messages", 5_000, [Way(ours.NAME, partial(mine, 1)), *PEERS]),
    Case(
        "a2",
        "publish in lists of 1,000, all confirmed",
        "messages",
        50_000,
        [Way(ours.NAME, partial(mine, BULK))],
        least=BULK,
    ),
]
