"""A scheduler killed twenty times at each of its points: every due row, fact and tick comes through once."""

from __future__ import annotations

import json
from collections import Counter

import pika
import pytest

from shared.events import EXCHANGE
from tests.failpoints.conftest import KILLS, Die, Recover, Run
from tests.kinds import Issue, Ledger, Setting, Sql

QUEUE = "gift-card-expiry"


@pytest.mark.parametrize("point", ["relay-claimed", "relay-published"])
def test_a_row_whose_relay_dies_around_publishing_is_done_once(
    point: str, die: Die, recover: Recover, card: Issue, ledger: Ledger, sql: Sql
) -> None:
    cards = [card(expired=True) for _ in range(KILLS)]
    for card_id in cards:
        sql("SELECT enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', %s::text))", str(card_id))

    die(point, "relay")
    assert sql("SELECT DISTINCT state, publishes FROM jobs") == [{"state": "scheduled", "publishes": 0}]
    recover(QUEUE)

    assert [ledger(card_id) for card_id in cards] == [[-25]] * KILLS
    assert sql("SELECT DISTINCT attempt, stalls FROM jobs") == [{"attempt": 1, "stalls": 0}]


def test_facts_whose_relay_dies_before_they_are_marked_are_told_again_with_their_number(
    die: Die, run: Run, rabbitmq: str, card: Issue, sql: Sql
) -> None:
    card_id = card()
    sql("INSERT INTO events (type, subject, data) SELECT 'delivery.sent', %s, '{}' FROM generate_series(1, 7)", card_id)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, EXCHANGE, "#")

        die("outbox-published", "tell")
        assert len(sql("SELECT FROM events WHERE published_at IS NULL")) == 7
        assert run("tell")["ended"] == 0

        told = [json.loads(channel.basic_get(queue, auto_ack=True)[2] or b"") for _ in range(7 * (KILLS + 1))]
    ids = [fact["id"] for fact in told]
    assert set(Counter(ids).values()) == {KILLS + 1}, "each as often as it was told"
    assert ids == [str(row["id"]) for row in sql("SELECT id FROM events ORDER BY id")] * (KILLS + 1), "always in order"
    assert [fact["subjectsequence"] for fact in told] == [1, 2, 3, 4, 5, 6, 7] * (KILLS + 1)
    assert sql("SELECT FROM events WHERE published_at IS NULL") == []


def test_ticks_whose_scheduler_dies_before_their_jobs_are_made_are_made_once(
    die: Die, run: Run, sql: Sql, setting: Setting
) -> None:
    setting(timetable=json.dumps({"prune_history": {"cron": "* * * * *", "missed": "all"}}))
    sql(
        "INSERT INTO schedules VALUES ('prune_history', date_trunc('minute', clock_timestamp()) - interval '9 minutes')"
    )

    die("ticking", "tick")
    assert sql("SELECT FROM jobs") == []
    assert run("tick")["ended"] == 0

    keys = [row["dedupe_key"] for row in sql("SELECT dedupe_key FROM jobs WHERE name = 'prune_history'")]
    assert len(keys) == len(set(keys))
    (last,) = sql(
        "SELECT extract(epoch FROM last_tick - (clock_timestamp() - interval '1 minute')) >= -1 AS caught_up,"
        " (SELECT count(*) FROM jobs WHERE name = 'prune_history') >= 9 AS all"
        " FROM schedules WHERE name = 'prune_history'"
    )
    assert last == {"caught_up": True, "all": True}


def test_jobs_whose_rescuer_dies_are_brought_back_once(
    die: Die, recover: Recover, card: Issue, ledger: Ledger, sql: Sql
) -> None:
    cards = [card(expired=True) for _ in range(KILLS)]
    for n, card_id in enumerate(cards):  # half of them with a dead worker, half of them lost by the broker
        sql(
            "INSERT INTO jobs (name, queue, data, gift_card_id, max_attempts, state, epoch, attempt, publishes,"
            " lease_until, queued_at) VALUES ('expire_gift_card', %s, jsonb_build_object('gift_card_id', %s::text), %s,"
            " 4, %s, 1, 1, 1, clock_timestamp() - interval '1 minute', clock_timestamp() - interval '1 hour')",
            QUEUE,
            str(card_id),
            card_id,
            "running" if n % 2 else "queued",
        )

    die("rescuing", "rescue")
    assert sql("SELECT FROM jobs WHERE state = 'scheduled' OR stalls > 0") == []
    recover(QUEUE)

    assert [ledger(card_id) for card_id in cards] == [[-25]] * KILLS
    assert sql("SELECT stalls, count(*) AS n FROM jobs GROUP BY stalls ORDER BY stalls") == [
        {"stalls": stalls, "n": KILLS // 2} for stalls in (0, 1)
    ]
