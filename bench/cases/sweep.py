"""Case d: the sweep of all cards that are due among five times as many, and the one bare SQL statement beside it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial

import psycopg

from bench import cards, ours
from bench.frame import Case, Sample, Unmeasured, Way
from bench.lab import Lab
from bench.peers import bullmq
from bench.place import Place
from shared.messages import ExpireDueGiftCards

AMONG = 5
CONCURRENCY = 16

# What somebody would type: status and ledger only, no job, no fact, one transaction over all.
BARE = """
WITH due AS (
    SELECT id, currency, balance, expiry_version, ledger_sequence + 1 AS sequence FROM gift_cards
    WHERE status = 'ACTIVE' AND expires_at <= now() FOR UPDATE
), expired AS (
    UPDATE gift_cards c SET status = 'EXPIRED', balance = 0, ledger_sequence = due.sequence FROM due WHERE c.id = due.id
)
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after, expiry_version,
                          idempotency_key)
SELECT id, sequence, 'EXPIRY', currency, -balance, balance, 0, expiry_version, 'expiry:' || id || ':v' || expiry_version
FROM due
"""


def mine(lab: Lab, count: int) -> Sample:
    """Let our sweep run, in slices, as a job."""
    with _cards(lab, count) as place:
        with place.cost() as cost:
            place.worker("services.expiry.actors")
            ours.publish(place, [ExpireDueGiftCards()])
            job = "SELECT state, extract(epoch FROM finished_at - started_at)::float AS took_s FROM jobs"
            lab.until(lambda: bool(place.sql(f"{job} WHERE finished_at IS NOT NULL")), every_s=0.5)
        found = place.sql("SELECT count(*) AS cards FROM gift_cards WHERE status = 'EXPIRED'")[0]["cards"]
        jobs = place.sql(job)
        if not jobs or jobs[0]["state"] not in ("succeeded", "running"):
            raise Unmeasured(f"the sweep ended as {jobs}")
        return Sample(found, jobs[0]["took_s"] or lab.limit_s, cost=cost)


def bare(lab: Lab, count: int) -> Sample:
    """Run the one statement."""
    with _cards(lab, count) as place, place.cost() as cost, psycopg.connect(place.url) as connection:
        began = time.perf_counter()
        expired = connection.execute(BARE).rowcount
        connection.commit()
        return Sample(expired, time.perf_counter() - began, cost=cost)


def seeds(peer: bullmq.Peer, lab: Lab, count: int) -> Sample:
    """Let the seed's cron find all cards and add them one by one, while its worker expires them."""
    with lab.place(f"seed_sweep_{count}", partial(cards.seeds, due=count, total=AMONG * count)) as place:
        with place.cost() as cost:
            began = time.time()
            peer.work(place, CONCURRENCY)
            peer.tick(place)
            pairs = place.noted(count)
        return Sample(len(pairs), max(ended for _, ended in pairs) - began, cost=cost)


def _cards(lab: Lab, count: int) -> AbstractContextManager[Place]:
    return lab.place(f"sweep_{count}", partial(cards.ours, due=count, total=AMONG * count))


CASES = [
    Case(
        "d",
        f"the sweep: all cards that are due, among {AMONG} times as many",
        "cards",
        1_000_000,
        [
            Way(ours.NAME, mine),
            Way("one bare SQL statement", bare),
            *(Way(f"{one.name}, cron loop", partial(seeds, one), one.missing) for one in bullmq.PEERS),
        ],
        least=1_000,
    )
]
