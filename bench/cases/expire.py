"""Case c: one ``expire_gift_card`` message per card, from a full queue to the last entry in the ledger."""

from __future__ import annotations

from functools import partial
from typing import LiteralString

from bench import cards, journal, ours
from bench.cost import Usage
from bench.frame import Case, Sample, Unmeasured, Way
from bench.lab import Lab
from bench.peers import amqp, bullmq
from bench.place import Place
from shared.messages import ExpireGiftCard

CONCURRENCY = 16  # jobs at once, for each of them; one worker process each
PREFETCH = 16 * CONCURRENCY  # of ours, which books half of what it holds as one batch

BOOKED = "SELECT count(*) AS booked FROM transactions WHERE type = 'EXPIRY'"
ENDED = """
SELECT extract(epoch FROM started_at)::float AS began, extract(epoch FROM finished_at)::float AS ended
FROM jobs WHERE state = 'succeeded'
"""
SEEDS_BOOKED = 'SELECT count(*) AS booked FROM "Transaction"'


def mine(lab: Lab, count: int) -> Sample:
    """Let our expiry worker expire each card, with its row in ``jobs``, its ledger entry and its event."""
    with lab.place(f"cards_{count}", partial(cards.ours, due=count, total=count)) as place:
        rows = place.sql("SELECT id FROM gift_cards")
        ours.publish(place, (ExpireGiftCard(gift_card_id=row["id"]) for row in rows))
        with place.cost() as cost:
            queue = {"gift_card_expiry__concurrency": CONCURRENCY, "gift_card_expiry__prefetch": PREFETCH}
            place.worker("services.expiry.actors", **queue)
            through = "SELECT count(*) >= %s AS yes FROM jobs WHERE finished_at IS NOT NULL"
            lab.until(lambda: place.sql(through, count)[0]["yes"], every_s=1)  # the rows say when it ended
        pairs = [(row["began"], row["ended"]) for row in place.sql(ENDED)]
        return _sample(place, BOOKED, pairs, cost)


def by_bullmq(peer: bullmq.Peer, lab: Lab, count: int) -> Sample:
    """Let BullMQ's worker expire each card of the seed's tables."""
    with lab.place(f"seed_{count}", partial(cards.seeds, due=count, total=count)) as place:
        peer.fill(place, _ids(place))
        with place.cost() as cost:
            peer.work(place, CONCURRENCY)
            pairs = place.noted(count)
        return _sample(place, SEEDS_BOOKED, pairs, cost)


def by_amqp(peer: amqp.Peer, lab: Lab, count: int) -> Sample:
    """Let a Python peer expire each card of the seed's tables."""
    with lab.place(f"seed_{count}", partial(cards.seeds, due=count, total=count)) as place:
        peer.send(place, "cards", lines=_ids(place))
        with place.cost() as cost:
            peer.work(place, 1, CONCURRENCY)
            pairs = place.noted(count)
        return _sample(place, SEEDS_BOOKED, pairs, cost)


def _ids(place: Place) -> list[str]:
    return [str(row["id"]) for row in place.sql('SELECT id FROM "GiftCard"')]


def _sample(place: Place, query: LiteralString, pairs: list[tuple[float, float]], cost: dict[str, Usage]) -> Sample:
    """Count only what is booked: a worker that drops its jobs would be the fastest."""
    booked = place.sql(query)[0]["booked"]
    if not pairs or booked < len(pairs):
        raise Unmeasured(f"{booked} of {len(pairs)} cards are booked, so this is no figure")
    return Sample(len(pairs), journal.span(pairs), [1000 * (ended - began) for began, ended in pairs], cost)


CASES = [
    Case(
        "c",
        f"expire one card per message, one worker process, {CONCURRENCY} at once",
        "cards",
        20_000,
        [
            Way(ours.NAME, mine),
            *(Way(one.name, partial(by_bullmq, one), one.missing) for one in bullmq.PEERS),
            *(Way(one.name, partial(by_amqp, one), one.missing) for one in amqp.PEERS),
        ],
        least=100,
    )
]
