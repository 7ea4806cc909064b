"""Case a: publish, until the broker has confirmed it."""

from __future__ import annotations

import time
from functools import partial

from bench import journal, ours
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from bench.peers import amqp
from bench.place import span


def one_by_one(lab: Lab, count: int) -> Sample:
    """Send each message and wait for its confirm."""
    with lab.place() as place, ours.publisher(place) as publisher:
        messages = ours.noops(count)
        publisher.send(messages[0])  # connects
        took = []
        with place.cost() as cost:
            begin = time.perf_counter()
            for message in messages:
                began = time.perf_counter()
                publisher.send(message)
                took.append(1000 * (time.perf_counter() - began))
            seconds = time.perf_counter() - begin
        return Sample(count, seconds, took, cost)


def in_bulk(lab: Lab, count: int) -> Sample:
    """Send lists of 1,000; a time is that of a whole list."""
    with lab.place() as place, ours.publisher(place) as publisher:
        messages = ours.noops(count)
        publisher.send(messages[0])
        took = []
        with place.cost() as cost:
            begin = time.perf_counter()
            for at in range(0, count, ours.BULK):
                began = time.perf_counter()
                publisher.send_many(messages[at : at + ours.BULK])
                took.append(1000 * (time.perf_counter() - began))
            seconds = time.perf_counter() - begin
        return Sample(count, seconds, took, cost)


def peer(peer: amqp.Peer, lab: Lab, count: int) -> Sample:
    """Send each message with confirms on: neither peer has another way."""
    with lab.place() as place, place.cost() as cost:
        peer.send(place, "each", count)
        pairs = journal.read(place.journal)
    return Sample(count, span(pairs), [1000 * (b - a) for a, b in pairs], cost)


PEERS = [Way(one.name, partial(peer, one), one.missing) for one in amqp.PEERS]
CASES = [
    Case("a1", "publish one by one, each confirmed", "messages", 5_000, [Way(ours.NAME, one_by_one), *PEERS]),
    Case("a2", "publish in lists of 1,000, all confirmed", "messages", 50_000, [Way(ours.NAME, in_bulk)], least=1000),
]
