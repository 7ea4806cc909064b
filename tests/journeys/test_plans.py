"""Every statement that runs all the time finds its rows by index, and reads next to nothing that it does not want.

At a size at which the planner chooses as it does at 10,000,000 rows: nearly all is history, a few rows are hot. Each
statement is planned both ways, since a driver that prepares gets a plan that knows none of the values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from services.cleanup import retention
from services.delivery import deliveries, limits
from services.delivery.reports import inbox
from services.expiry import cards, reminders, unreached
from services.scheduler import counts as gauges
from services.scheduler import outbox, relay, rescue, wiretap
from shared import cards as shared_cards
from shared import claims, controls, counts, jobs, leases
from shared.messages import QUEUES
from tests import servers
from tests.plans import nodes

pytestmark = pytest.mark.xdist_group("plans")  # one worker fills the tables, for all of them
# PLANS_HISTORY=9999999 looks at ten million: a quarter of an hour, with --timeout 3600.
HISTORY = int(os.environ.get("PLANS_HISTORY", "100000"))
HOT = 20  # of each kind
READ = 2_000  # rows of a table that a statement may look at: what it wants, and a page or two beside it
LARGE = {"jobs", "deliveries", "gift_cards", "events", "job_keys", "provider_events", "transactions", "refresh_tokens"}
QUEUE = "gift-card-expiry"
NOW = datetime.now(UTC)

# Ids say what a row is: the first digit is its kind, the rest its number.
JOBS = """
INSERT INTO jobs (id, name, queue, state, priority, run_at, lease_until, gift_card_id, queued_at, started_at,
    finished_at, enqueued_at, publishes, epoch, attempt, dedupe_key, reason)
SELECT (k.digit || lpad(n::text, 7, '0') || '-0000-4000-8000-000000000000')::uuid, 'expire_gift_card',
    CASE WHEN k.state = 'succeeded' THEN (ARRAY['gift-card-expiry', 'email-delivery', 'scheduled-delivery'])[n % 3 + 1]
        ELSE 'gift-card-expiry' END,
    CASE WHEN k.state = 'succeeded' AND n % 50 = 0 THEN (ARRAY['skipped', 'failed'])[n / 50 % 2 + 1] ELSE k.state END,
    1, now() + k.due, CASE WHEN k.state = 'running' THEN now() + (n - 10) * interval '1 second' END,
    gen_random_uuid(), now() - interval '1 minute', now() - interval '1 minute',
    CASE WHEN k.state = 'succeeded' THEN now() - n * interval '1 second' END, now() - n * interval '1 second', 1, 1, 1,
    CASE WHEN k.state = 'succeeded' AND n % 2 = 0 THEN 'key:' || n END, CASE WHEN n % 100 = 0 THEN 'zero_balance' END
FROM (VALUES ('1', 'succeeded', interval '-1 day', %(history)s), ('2', 'scheduled', interval '-1 minute', %(hot)s),
    ('3', 'scheduled', interval '1 day', %(history)s / 10), ('4', 'queued', interval '-1 minute', %(hot)s),
    ('5', 'running', interval '-1 minute', %(hot)s)) AS k (digit, state, due, number), generate_series(1, k.number) n
"""
CARDS = """
INSERT INTO gift_cards (id, status, currency, balance, code_encrypted, code_last4, expires_on, recipient_email,
    ledger_sequence)
SELECT ('a' || lpad(n::text, 7, '0') || '-0000-4000-8000-000000000000')::uuid,
    CASE WHEN n % 3 = 0 THEN 'EXPIRED' ELSE 'ACTIVE' END, 'EUR', 10, 'x', '1234',
    current_date + CASE WHEN n <= %(hot)s THEN -2 ELSE 60 + n % 1000 END, 'ada@example.com', 1
FROM generate_series(1, %(history)s / 5) n;
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
    idempotency_key)
SELECT id, 1, 'ISSUE', currency, 10, 0, 10, 'issue:' || id FROM gift_cards
"""
DELIVERIES = """
INSERT INTO deliveries (id, dedupe_key, gift_card_id, kind, channel, recipient_version, state, job_id, sending_at,
    address_hash, provider_id)
SELECT ('d' || lpad(n::text, 7, '0') || '-0000-4000-8000-000000000000')::uuid, 'gift:' || n, c.id, 'gift',
    CASE WHEN n % 2 = 0 THEN 'sms' ELSE 'email' END, 1, CASE WHEN n <= %(hot)s THEN 'sending' ELSE 'delivered' END,
    gen_random_uuid(), now() - n * interval '1 minute', md5((n % 1000)::text), 'p' || n
FROM generate_series(1, %(history)s / 2) n JOIN gift_cards c
    ON c.id = ('a' || lpad((n % (%(history)s / 5) + 1)::text, 7, '0') || '-0000-4000-8000-000000000000')::uuid
"""
REST = """
INSERT INTO job_keys SELECT 'key:' || n, gen_random_uuid(), 'expire_gift_card', md5('{}')
    FROM generate_series(1, %(history)s) n;
INSERT INTO events (type, subject, published_at, number) SELECT 'delivery.sent', gen_random_uuid(),
    CASE WHEN n > %(hot)s THEN now() - n * interval '1 second' END, CASE WHEN n > %(hot)s THEN 1 END
    FROM generate_series(1, %(history)s / 2) n;
INSERT INTO provider_events (provider, event_id, body, provider_id, received_at, applied_at)
    SELECT 'ses', n, '{}', 'p' || n, now() - n * interval '1 second', CASE WHEN n > %(hot)s THEN now() END
    FROM generate_series(1, %(history)s / 2) n;
INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
    SELECT gen_random_uuid(), n, now() + n * interval '1 minute' FROM generate_series(1, %(history)s / 2) n;
UPDATE wiretap SET settled_until = now(), reader = 'me', lease_until = now() + interval '1 hour';
"""


def ids(digit: str, number: int = HOT) -> list[UUID]:
    return [UUID(f"{digit}{n:07}-0000-4000-8000-000000000000") for n in range(1, number + 1)]


CLAIMED = {
    "id": ids("4"),
    "name": ["expire_gift_card"] * HOT,
    "queue": [QUEUE] * HOT,
    "data": [Jsonb({})] * HOT,
    "priority": [1] * HOT,
    "dedupe_key": [f"key:{n}" for n in range(HOT)],
    "card": ids("a"),
    "source": ["test"] * HOT,
    "traceparent": [None] * HOT,
    "max_attempts": [4] * HOT,
    "run_at": [None] * HOT,
    "bulk": [False] * HOT,
    "worker": "w",
    "lease": timedelta(seconds=60),
}
LANES: dict[str, Any] = {"queues": list(QUEUES), "depths": [1000] * len(QUEUES), "no_room_s": 0.2}
MINE = {"ids": ids("5"), "epochs": [1] * HOT, "lease": timedelta(seconds=60)}
ONE = {"id": ids("5")[0], "epoch": 1, "lease": timedelta(seconds=60)}
END = {"reason": None, "error_type": None, "error": None}
DELIVERY = {"card_id": ids("a")[0], "delivery_id": ids("d")[0], "job_id": ids("5")[0]}
PRUNED = {"queue": QUEUE, "states": retention.COMPLETED, "rows": 1000}

STATEMENTS: dict[str, tuple[str, Mapping[str, Any] | Sequence[Any]]] = {
    "relay ROOM": (relay.ROOM, LANES | {"mine": True, "most": 2000}),
    "relay DUE": (relay.DUE, {"queues": [QUEUE], "priorities": [1], "rooms": [1000], "part": 500}),
    "relay MARK": (relay.MARK, [[f"({page},1)" for page in range(HOT)]]),
    "relay UNMARK": (relay.UNMARK, [ids("4"), [NOW] * HOT]),
    "relay NEXT": (relay.NEXT, LANES),
    "rescue STALLED": (rescue.STALLED, {"max_stalls": 3}),
    "rescue LOST": (rescue.LOST, {"silent_s": 30, "queues": list(QUEUES)}),
    "claims CLAIM": (claims.CLAIM, CLAIMED),
    "claims ENTER": (claims.ENTER, CLAIMED),
    "claims HOLD_KEYS": (claims.HOLD_KEYS, CLAIMED),
    "claims KNOWN": (claims.KNOWN, [ids("1", 500)]),
    "controls RESERVE": (controls.RESERVE, {"queue": QUEUE, "rate": 100, "run_at": None, "id": ids("4")[0]}),
    "jobs FENCE": (jobs.FENCE, ONE),
    "jobs FINISH": (jobs.FINISH, ONE | END | {"state": "succeeded"}),
    "jobs FINISH_ALL": (
        jobs.FINISH_ALL,
        MINE | {"states": ["succeeded"] * HOT, "reasons": [None] * HOT, "errors": [None] * HOT},
    ),
    "jobs AGAIN": (jobs.AGAIN, ONE | END | {"after_s": 2, "refund": 0}),
    "leases RENEW": (leases.RENEW, MINE),
    "leases GIVE_BACK": (leases.GIVE_BACK, MINE),
    "cards READ": (shared_cards.READ, [ids("a")[0]]),
    "cards EXPIRE": (cards.EXPIRE, {"ids": ids("a"), "versions": [None] * HOT, "jobs": ids("5")}),
    "cards REACHED": (cards.REACHED, [ids("a")]),
    "cards NEXT_DUE": (cards.NEXT_DUE, {"rows": 1000, "as_of": None, "broken": []}),
    "cards HOLD": (unreached.HOLD, {"ids": ids("a")}),
    "reminders PLAN": (reminders.PLAN, {"rows": 1000, "as_of": None, "days": [30, 7, 1], "hour": 9}),
    "deliveries BY_ID": (deliveries.BY_ID, DELIVERY),
    "limits TO_RECIPIENT": (limits.TO_RECIPIENT, ["0"]),
    "limits BY_SHOP": (limits.BY_SHOP, []),
    "inbox FOUND_NOW": (inbox.FOUND_NOW, [200]),
    "inbox FORGET": (inbox.FORGET, [inbox.ORPHANS_WAIT]),
    "inbox OF_MESSAGE": (inbox.OF_MESSAGE, ["p1", "email"]),
    "retention EXCESS": (retention.EXCESS, PRUNED | {"keep_count": 100}),
    "retention FINISHED": (retention.FINISHED, PRUNED | {"keep_s": 1e6, "finished_at": None, "id": None}),
    "retention FINISHED of failures": (
        retention.FINISHED,
        PRUNED | {"states": retention.FAILED, "keep_s": 1e6, "finished_at": None, "id": None},
    ),
    "retention FINISHED beyond the number kept": (
        retention.FINISHED,
        PRUNED | {"keep_s": 1e6, "finished_at": NOW - timedelta(seconds=HISTORY - 500), "id": ids("1")[0]},
    ),
    "retention EVENTS": (retention.EVENTS, {"days": 30, "rows": 1000}),
    "retention TOKENS": (retention.TOKENS, {"as_of": None, "grace_s": 86400, "rows": 1000}),
    "outbox COUNT": (outbox.COUNT, [500]),
    "outbox NEXT": (outbox.NEXT, [500]),
    "outbox TOLD": (outbox.TOLD, [list(range(1, 100))]),
    "wiretap TAKE": (wiretap.TAKE, {"me": "me"}),
    "wiretap SETTLE": (wiretap.SETTLE, {"position": 1, "until": None, "me": "me"}),
    "gauge queues": (counts.COUNTS, {"queues": list(QUEUES), "most": 500, "most_over": 100}),
    **{f"gauge {gauge.name}": (gauge.query, []) for gauge in gauges.HELD if gauge.every_s < gauges.SLOW_S},
}


# What is never prepared is planned for its values each time, and has no other plan.
UNPREPARED = {"reminders PLAN"}
PLANS = [(n, mode) for n in STATEMENTS for mode in ("custom", "generic") if mode == "custom" or n not in UNPREPARED]


@pytest.fixture(scope="module")
def many() -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Lend a database with a long history, to look at plans in."""
    with servers.fresh_database() as url, psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        cursor = psycopg.ClientCursor(connection)
        for rows in (JOBS, CARDS, DELIVERIES, REST):
            cursor.execute(re.sub(r"%(?![%(])", "%%", rows), {"history": HISTORY, "hot": HOT})
        connection.execute("VACUUM ANALYZE")
        connection.execute("SET jit = off")
        yield connection


def explained(
    connection: psycopg.Connection[Any], statement: str, given: Mapping[str, Any] | Sequence[Any], mode: str
) -> dict[str, Any]:
    """Run a statement as a prepared one, roll it back, and give its plan with what it met."""
    numbered, values = _numbered(statement, given)
    kinds = ", ".join("interval" if isinstance(value, timedelta) else "unknown" for value in values)
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("DEALLOCATE ALL")
    cursor.execute(f"SET plan_cache_mode = force_{mode}_plan")
    with connection.transaction(force_rollback=True):
        cursor.execute(f"PREPARE hot {f'({kinds})' if values else ''} AS {numbered}")
        call = f"({', '.join(['%s'] * len(values))})" if values else ""
        row: Any = cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot" + call, values).fetchone()
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


def _numbered(statement: str, given: Mapping[str, Any] | Sequence[Any]) -> tuple[str, list[Any]]:
    """Give a statement with PostgreSQL's own parameters, and their values in order."""
    if not isinstance(given, Mapping):
        numbers = iter(range(1, len(given) + 1))
        return re.sub("%s", lambda _: f"${next(numbers)}", statement), list(given)
    used = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    return re.sub(r"%\((\w+)\)s", lambda found: f"${used.index(found[1]) + 1}", statement), [given[n] for n in used]


@pytest.mark.parametrize(("name", "mode"), PLANS)
def test_a_hot_statement_reads_what_it_wants_by_index(
    many: psycopg.Connection[dict[str, Any]], name: str, mode: str
) -> None:
    plan = explained(many, *STATEMENTS[name], mode)

    reads = [n for n in nodes(plan) if n.get("Relation Name") in LARGE and "Actual Rows" in n]
    scanned = [n["Relation Name"] for n in reads if n["Node Type"] == "Seq Scan" and n["Actual Loops"]]
    removed = sum(n["Actual Loops"] * n.get("Rows Removed by Filter", 0) for n in reads)
    assert scanned == []
    assert removed <= HOT * len(QUEUES)
    assert sum(n["Actual Loops"] * n["Actual Rows"] for n in reads) + removed <= READ
