"""Case h: delete the tokens that expired among five times as many, and the seed's one DELETE beside it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial
from typing import LiteralString

import psycopg

from bench import ours
from bench.frame import Case, Sample, Unmeasured, Way
from bench.lab import Lab
from bench.place import Place
from deploy.local import database
from shared.messages import CleanupExpiredTokens

AMONG = 5
FILL: LiteralString = """
INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
SELECT gen_random_uuid(), md5(n::text), now() + CASE WHEN n <= %s THEN interval '-3 days' ELSE interval '30 days' END
FROM generate_series(1, %s) n
"""


def mine(lab: Lab, count: int) -> Sample:
    """Let our cleanup run, in slices, as a job."""
    with _tokens(lab, count) as place:
        with place.cost() as cost:
            place.worker("services.cleanup.actors")
            ours.publish(place, [CleanupExpiredTokens()])
            ended = (
                "SELECT extract(epoch FROM finished_at - started_at)::float AS s FROM jobs WHERE state = 'succeeded'"
            )
            if not lab.until(lambda: bool(place.sql(ended))):
                raise Unmeasured(f"it was not through after {lab.limit_s:.0f} s")
        left = place.sql("SELECT count(*) AS tokens FROM refresh_tokens")[0]["tokens"]
        return Sample(AMONG * count - left, place.sql(ended)[0]["s"], cost=cost)


def seeds(lab: Lab, count: int) -> Sample:
    """Run what the seed's deleteMany comes to: one unbounded statement."""
    with _tokens(lab, count) as place, place.cost() as cost, psycopg.connect(place.url) as connection:
        began = time.perf_counter()
        statement = "DELETE FROM refresh_tokens WHERE expires_at < now() OR revoked_at IS NOT NULL"
        deleted = connection.execute(statement).rowcount
        connection.commit()
        return Sample(deleted, time.perf_counter() - began, cost=cost)


def _tokens(lab: Lab, count: int) -> AbstractContextManager[Place]:
    return lab.place(f"tokens_{count}", partial(_fill, count=count))


def _fill(url: str, count: int) -> None:
    database.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, (count, AMONG * count))
        connection.execute("VACUUM ANALYZE refresh_tokens")


CASES = [
    Case(
        "h",
        f"tokens that expired are deleted, among {AMONG} times as many",
        "tokens",
        1_000_000,
        [Way(ours.NAME, mine), Way("the seed's one DELETE", seeds)],
        least=1_000,
    )
]
