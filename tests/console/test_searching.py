"""Search: by everything at once, newest first, page by page, and never by reading the table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from services.console import queries, reading, searching
from services.console.searching import Search, page
from services.console.session import Refused
from shared import db
from shared.messages import MESSAGES
from tests import servers
from tests.console.conftest import Made, Read
from tests.plans import nodes

pytestmark = pytest.mark.xdist_group("searching")  # one worker fills the tables, for all of them
NOW = datetime.now(UTC)
CARD = UUID("7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08")

# 120,000 jobs of every state, most of them of one name, and a few of another of the same queue.
MANY = """
INSERT INTO jobs (name, queue, state, gift_card_id, run_at, enqueued_at, finished_at, reason, error_type, error, worker,
    lease_until, queued_at)
SELECT CASE WHEN n % 5000 = 0 THEN 'expire_due_gift_cards' WHEN n % 3 = 0 THEN 'send_gift_card_email'
        ELSE 'expire_gift_card' END,
    CASE WHEN n % 5000 <> 0 AND n % 3 = 0 THEN 'email-delivery' ELSE 'gift-card-expiry' END,
    s.state, gen_random_uuid(),
    clock_timestamp() + CASE s.state WHEN 'scheduled' THEN n ELSE -n END * interval '1 second',
    clock_timestamp() - n * interval '2 seconds',
    CASE WHEN s.state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled')
        THEN clock_timestamp() - n * interval '1 second' END,
    'retries_exhausted', CASE WHEN s.state = 'failed' THEN 'TimeoutError' END,
    CASE WHEN s.state = 'failed' THEN 'smtp.py:' || n % 50 || ' send: connection ' || md5(n::text)
         WHEN s.state = 'skipped' THEN 'balance 0' END, 'w', clock_timestamp(), clock_timestamp()
FROM generate_series(1, 120000) n, LATERAL (SELECT CASE
    WHEN n % 1000 = 0 THEN 'running' WHEN n % 997 = 0 THEN 'queued' WHEN n % 10 = 1 THEN 'failed'
    WHEN n % 7 = 0 THEN 'scheduled' WHEN n % 11 = 0 THEN 'skipped' WHEN n % 501 = 0 THEN 'rejected'
    WHEN n % 503 = 0 THEN 'cancelled' ELSE 'succeeded' END AS state) s
"""
FILTERS: dict[str, object] = {
    "state": "failed",
    "name": "expire_due_gift_cards",
    "queue": "gift-card-expiry",
    "card": CARD,
    "since": NOW - timedelta(days=1),
    "error": "connection ab",
}
COMBINATIONS = [names for size in range(len(FILTERS) + 1) for names in combinations(FILTERS, size)]


def found(**given: object) -> list[UUID]:
    with db.transaction() as connection:
        return [row["id"] for row in page(connection, Search.model_validate(given))[0]]


def test_each_filter_narrows_and_all_of_them_together_do(made: Made) -> None:
    about = {"message": "send_gift_card_email", "error_type": "TimeoutError", "error": "smtp.py:1 Connection refused"}
    wanted = made("failed", **about)
    others = [
        made("rejected", **about),
        made("failed", **about | {"error": "smtp.py:9 full"}),
        made("failed", **about | {"message": "send_gift_card_sms"}),
        made("failed", **about, finished_at=NOW - timedelta(days=2)),
        made("failed", **about, gift_card_id=UUID(int=1)),
    ]
    every: dict[str, Any] = {
        "state": "failed",
        "error": "connection REFUSED",
        "name": "send_gift_card_email",
        "since": NOW - timedelta(days=1),
        "card": CARD,
    }

    assert found(**every) == [wanted]
    assert found(**every, queue="email-delivery") == [wanted]
    assert found(**every, queue="sms-delivery") == []
    for left_out, other in zip(every, others, strict=True):
        assert set(found(**{k: v for k, v in every.items() if k != left_out})) == {wanted, other}


def test_pages_follow_each_other_without_gap_or_repetition_even_among_equal_times(made: Made) -> None:
    made_now = [made("succeeded", finished_at=NOW) for _ in range(5)]
    older = [made("failed", finished_at=NOW - timedelta(minutes=n)) for n in (1, 2)]
    later = made("scheduled", run_at=NOW + timedelta(days=1))
    seen: list[UUID] = []
    cursor = None

    with db.transaction() as connection:
        while True:
            rows, cursor = page(connection, Search(), limit=3, cursor=cursor)
            seen += [row["id"] for row in rows]
            if cursor is None:
                break

    assert seen == [later, *sorted(made_now, reverse=True), *older]


def test_what_was_rejected_under_another_name_or_from_a_wrong_queue_is_found(made: Made, sql: Any) -> None:
    odd, wrong = made("rejected"), made("rejected")
    sql("UPDATE jobs SET name = 'no_such_message' WHERE id = %s", odd)
    sql("UPDATE jobs SET queue = 'sms-delivery' WHERE id = %s", wrong)

    assert set(found(state="rejected")) == {odd, wrong}
    assert found(name="no_such_message") == [odd]
    assert found(name="expire_due_gift_cards", queue="sms-delivery") == [wrong]


@pytest.mark.parametrize("text", ["100%", "a_b", "c:\\d"])
def test_an_errors_text_is_taken_as_it_is_written(made: Made, text: str) -> None:
    exact = made("failed", error_type="E", error=f"said {text} then")
    made("failed", error_type="E", error="said 100 aXb c:d then")

    assert found(error=text) == [exact]


def test_the_inputs_of_a_skip_rule_are_no_error(made: Made, read: Read) -> None:
    made("skipped", reason="zero_balance", error="balance 0")
    waits = made("scheduled", error_type="TimeoutError", error="no balance known")

    assert [row["id"] for row in read("jobs", "--error", "balance")] == [str(waits)]


@pytest.mark.parametrize("cursor", ["?", "bm90aGluZw==", "ä"])
def test_a_cursor_that_is_none_is_refused(database: str, cursor: str) -> None:
    with db.transaction() as connection, pytest.raises(Refused, match="first page"):
        page(connection, Search(), cursor=cursor)


@pytest.fixture(scope="module")
def many() -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Lend a database with many jobs, to look at plans in."""
    with servers.fresh_database() as url, psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(MANY)
        connection.execute("VACUUM ANALYZE jobs")
        connection.execute("SET jit = off")
        yield connection


def read_rows(
    connection: psycopg.Connection[dict[str, Any]], search: Search, *, paged: bool, common: bool = False
) -> int:
    """Run a search, and give how many rows of the table it looked at."""
    given = searching.parameters(search) | {"limit": 51, "cursor_at": NOW - timedelta(hours=1), "cursor_id": CARD}
    parts = searching.parts(search, paged=paged, common=common)
    statement = searching.PAGE.replace("{columns}", searching.COLUMNS).replace("{parts}", parts)
    row = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, given, prepare=False).fetchone()
    assert row is not None
    reads = [n for n in nodes(row["QUERY PLAN"][0]["Plan"]) if n.get("Relation Name") == "jobs"]
    assert all(n["Node Type"] != "Seq Scan" for n in reads), search
    return sum(n["Actual Loops"] * (n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) for n in reads)


@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: "+".join(names) or "nothing")
def test_no_combination_reads_more_than_a_few_pages_of_the_table(
    many: psycopg.Connection[dict[str, Any]], names: tuple[str, ...]
) -> None:
    search = Search.model_validate({name: FILTERS[name] for name in names})

    for paged in (False, True):
        assert read_rows(many, search, paged=paged) < 10_000, "of 120,000"


@pytest.mark.parametrize("state", [*searching.STATES, *searching.WORDS])
@pytest.mark.parametrize("name", [None, "expire_due_gift_cards"])
def test_no_state_is_searched_by_reading_the_table(
    many: psycopg.Connection[dict[str, Any]], state: str, name: str | None
) -> None:
    assert read_rows(many, Search(state=state, name=name), paged=True) < 10_000


@pytest.mark.parametrize("of", [queries.FAILED_OF_QUEUES, queries.FAILED_OF_NAME], ids=["queues", "name"])
def test_failures_are_grouped_without_reading_what_succeeded(
    many: psycopg.Connection[dict[str, Any]], of: LiteralString
) -> None:
    name = "send_gift_card_email"
    given = {"queues": list({m.queue for m in MESSAGES.values()}), "name": name, "newest": reading.LOOKED_AT}
    statement = queries.FAILED.replace("{failed}", of)
    row = many.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, given, prepare=False).fetchone()
    assert row is not None
    reads = [n for n in nodes(row["QUERY PLAN"][0]["Plan"]) if n.get("Relation Name") == "jobs"]

    assert reads
    assert all(n["Node Type"] != "Seq Scan" for n in reads)
    assert sum(n["Actual Loops"] * (n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) for n in reads) < 25_000


@pytest.mark.parametrize(
    "search",
    [
        Search(error="connection"),
        Search(error="connection", state="failed"),
        Search(error="connection", name="expire_gift_card"),
        Search(reason="retries_exhausted"),
        Search(reason="nothing_like_it"),
    ],
    ids=["error", "error and state", "error and name", "reason", "no such reason"],
)
def test_a_common_error_or_a_reason_is_found_by_reading_a_page_of_it(
    many: psycopg.Connection[dict[str, Any]], search: Search
) -> None:
    common = searching._is_common(many, search)
    many.execute(f"SET enable_sort = {'off' if common else 'on'}")

    assert common == (search.error is not None)
    for paged in (False, True):
        assert read_rows(many, search, paged=paged, common=common) < 2_000, "of 120,000"


def test_a_common_error_gives_the_same_pages_as_a_rare_one(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    states = ("failed", "rejected", "scheduled", "queued")
    for state in states:
        made(state, error_type="E", error=f"connection refused {state}", reason="transient")
    made("failed", error_type="E", error="mailbox full", reason="retries_exhausted")
    as_rare = found(error="Connection")
    monkeypatch.setattr(searching, "COMMON", 1)

    assert len(as_rare) == len(states)
    assert found(error="Connection") == as_rare
    assert found(error="Connection", name="expire_due_gift_cards") == as_rare
