"""Deliveries of which nobody knows: shown first, resolved by whoever has found out, left alone while a job is at it."""

from __future__ import annotations

import json
from uuid import UUID

import services.delivery.actors  # noqa: F401  # registers the actors
from services.console import resolving
from shared import db
from shared.messages import SendGiftCardEmail
from tests.console.conftest import Cli, Read, Sent
from tests.kinds import Deliver, Issue, JobOf, Sql
from tests.outside import Outside

WHY = ("--reason", "seen in the log", "--as", "ada")


def running(sql: Sql, card_id: UUID, delivery: UUID, state: str = "running") -> None:
    data = json.dumps({"gift_card_id": str(card_id), "delivery_id": str(delivery)})
    sql("SELECT enqueue_job('send_gift_card_email', %s::jsonb)", data)
    sql("UPDATE jobs SET state = %s, lease_until = clock_timestamp() + interval '1 minute'", state)


def test_held_deliveries_come_first_then_unknown_ones_each_with_its_attempts(
    card: Issue, sent: Sent, sql: Sql, read: Read, cli: Cli
) -> None:
    card_id = card()
    held = sent(card_id, reason="held")
    lost = sent(card_id, "sending")
    settling = sent(card_id, reason="settling")
    running(sql, card_id, settling, "scheduled")
    done = sent(card_id, "sent")

    rows = read("deliveries")

    assert [row["id"] for row in rows] == list(map(str, (lost, held, settling, done)))
    needs = ["an operator: resolve"] * 2 + ["nothing: it is being found out", None]
    assert [row["needs"] for row in rows] == needs
    assert [row["id"] for row in read("deliveries", "--state", "sent")] == [str(done)]
    assert read("deliveries", "--channel", "sms") == []
    assert len(read("deliveries", "--card", card_id, "--limit", 3)) == 3
    assert "2026-11-24 08:00:01 smtp:relay:587 unknown no_reply" in cli("deliveries").output


def test_a_page_of_deliveries_reads_no_more_than_a_page_of_each_kind(card: Issue, sql: Sql) -> None:
    one = card("10.00")
    sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state)"
        " SELECT n::text, %s, 'gift', 'email', 1, 'sent' FROM generate_series(1, 30000) n",
        one,
    )
    sql("ANALYZE deliveries")

    for wanted in ({}, {"state": "bounced"}, {"channel": "sms"}, {"state": "sent", "channel": "sms"}):
        given = {"state": None, "channel": None, "card": None} | wanted
        with db.transaction() as connection:
            before = read(connection)
            found = resolving.find(connection, given, 50)
            looked_at = read(connection) - before

        assert len(found) == (0 if wanted else 50)
        assert looked_at < 1000, f"of 30,000 for {wanted}"


def read(connection: db.Connection) -> int:
    """Say how many deliveries this transaction has read so far."""
    [row] = connection.execute(
        "SELECT pg_stat_get_xact_tuples_returned('deliveries'::regclass)"
        " + pg_stat_get_xact_tuples_fetched('deliveries'::regclass) AS n"
    ).fetchall()
    return int(row["n"])


def test_a_delivery_that_arrived_counts_as_sent_by_an_operators_word(
    card: Issue, sent: Sent, cli: Cli, sql: Sql, deliver: Deliver, job: JobOf, outside: Outside
) -> None:
    card_id = card()
    delivery = sent(card_id, reason="held")

    assert cli("resolve", delivery, "--arrived", *WHY).output == "it counts as sent\n"
    [job_id] = deliver(SendGiftCardEmail(gift_card_id=card_id, delivery_id=delivery))

    [row] = sql("SELECT state, reason, settled_by, sent_at IS NOT NULL AS at, attempts FROM deliveries")
    assert (row["state"], row["reason"], row["settled_by"], row["at"]) == ("sent", None, "operator", True)
    assert row["attempts"][-1]["said"] == "an operator says that it arrived"
    assert sql("SELECT type, subject FROM events") == [{"type": "delivery.sent", "subject": card_id}]
    assert (job(job_id)["reason"], outside.messages()) == ("already_sent", [])
    [kept] = sql("SELECT who, action, subject, reason, details FROM audit")
    assert kept == {
        "who": "ada",
        "action": "delivery.resolved",
        "subject": str(delivery),
        "reason": "seen in the log",
        "details": {"answer": "arrived", "was": "held"},
    }


def test_a_held_gift_is_sent_again_as_a_delivery_of_its_own_and_needs_nobody_any_more(
    card: Issue, sent: Sent, cli: Cli, sql: Sql, read: Read
) -> None:
    delivery = sent(card(), reason="held", channel="sms")

    assert "resend_gift_card is asked for" in cli("resolve", delivery, "--send-again", *WHY).output

    assert sql("SELECT name, data ->> 'method' AS way FROM jobs") == [{"name": "resend_gift_card", "way": "sms"}]
    [row] = read("deliveries")
    assert (row["state"], row["reason"], row["settled_by"], row["needs"]) == (
        "unconfirmed",
        "sent_again",
        "operator",
        None,
    )
    actions = [row["action"] for row in sql("SELECT action FROM audit ORDER BY id")]
    assert actions == ["resend_gift_card.asked", "delivery.resolved"]
    assert "it was sent again before" in cli("resolve", delivery, "--send-again", *WHY).stderr


def test_a_delivery_whose_job_runs_is_left_alone(card: Issue, sent: Sent, cli: Cli, sql: Sql) -> None:
    card_id = card()
    delivery = sent(card_id, "sending")
    running(sql, card_id, delivery)

    for answer in ("--arrived", "--send-again"):
        assert "right now: look again" in cli("resolve", delivery, answer, *WHY).stderr

    assert sql("SELECT state FROM deliveries") == [{"state": "sending"}]
    assert sql("SELECT FROM audit") == []


def test_what_is_still_being_found_out_is_not_sent_again(card: Issue, sent: Sent, cli: Cli, sql: Sql) -> None:
    card_id = card()
    delivery = sent(card_id, reason="settling")
    running(sql, card_id, delivery, "scheduled")

    assert "still being found out" in cli("resolve", delivery, "--send-again", *WHY).stderr
    assert cli("resolve", delivery, "--arrived", *WHY).exit_code == 0


def test_what_cannot_be_resolved_is_said_in_one_line(card: Issue, sent: Sent, cli: Cli, sql: Sql) -> None:
    card_id = card()
    reminder = sent(card_id, reason="held", kind="reminder")

    assert "its outcome is known: it is sent" in cli("resolve", sent(card_id, "sent"), "--arrived", *WHY).stderr
    assert "no delivery has the id" in cli("resolve", UUID(int=1), "--arrived", *WHY).stderr
    assert "say either --arrived or --send-again" in cli("resolve", reminder, *WHY).stderr
    assert "only a gift is sent again" in cli("resolve", reminder, "--send-again", *WHY).stderr
    assert sql("SELECT FROM audit") == []
