"""A gift that cannot arrive one way goes the other way, else whoever bought it is told; once, and without the code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from services.delivery import fallback
from services.delivery.reports import inbox
from services.delivery.reports.report import Kind, Report
from shared import db, suppressions
from tests.delivery.hooks import PHONE, sent
from tests.kinds import Issue, Row, Sql

BUYER = "bob@example.com"
OTHER = {"email": "sms", "sms": "email"}


@dataclass(frozen=True)
class Failed:
    id: UUID
    kind: str
    channel: str
    recipient_version: int = 1


def fail(
    sql: Sql, card_id: UUID, channel: str = "email", kind: str = "gift", reason: str = "hard_bounce"
) -> str | None:
    made = sent(sql, card_id, channel, "bounced", kind=kind, dedupe_key=f"{kind}:{card_id}:r1:{channel}")
    return again(card_id, made, channel, kind, reason)


def again(
    card_id: UUID, made: UUID, channel: str = "email", kind: str = "gift", reason: str = "hard_bounce"
) -> str | None:
    with db.transaction() as connection:
        return fallback.gift_failed(connection, None, card_id, Failed(made, kind, channel), reason)


def next_ones(sql: Sql) -> list[Row]:
    """Give what was put on its way: deliveries that are queued, with their jobs."""
    return sql(
        "SELECT d.id, d.kind, d.channel, d.template_id, d.dedupe_key, j.name, j.data, j.dedupe_key AS job_key,"
        " j.not_after = c.expires_at AS in_time FROM deliveries d JOIN gift_cards c ON c.id = d.gift_card_id"
        " LEFT JOIN jobs j ON j.data ->> 'delivery_id' = d.id::text WHERE d.state = 'queued' ORDER BY d.created_at"
    )


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_gift_goes_the_other_way_under_the_key_of_any_gift(
    database: str, card: Issue, sql: Sql, channel: str
) -> None:
    card_id = card(purchaser_email=BUYER)

    done = fail(sql, card_id, channel)

    other = OTHER[channel]
    (row,) = next_ones(sql)
    assert (done, row["kind"], row["channel"]) == (other, "gift", other)
    assert row["dedupe_key"] == f"gift:{card_id}:r1:{other}"
    assert (row["name"], row["job_key"], row["in_time"]) == (f"send_gift_card_{other}", f"send:{row['id']}", True)


@pytest.mark.parametrize(
    "no_way",
    [
        {"recipient_phone": None},
        {"recipient_phone": "+1415555"},
        {"recipient_phone": "+14155550199"},  # suppressed
    ],
)
def test_without_another_way_the_purchaser_is_told_once(
    database: str, card: Issue, sql: Sql, no_way: dict[str, Any]
) -> None:
    with db.transaction() as connection:
        suppressions.suppress(connection, "sms", "+14155550199", "hard_bounce")
    card_id = card(purchaser_email=BUYER, **no_way)
    made = sent(sql, card_id, state="bounced")

    done = [again(card_id, made) for _ in range(3)]

    (row,) = next_ones(sql)
    assert done == ["purchaser", None, None]
    assert (row["kind"], row["channel"], row["template_id"]) == ("notice", "email", "gift_undeliverable")
    assert row["dedupe_key"] == f"notice:{card_id}:r1"
    assert row["data"] == {
        "gift_card_id": str(card_id),
        "template_id": "gift_undeliverable",
        "delivery_id": str(row["id"]),
    }
    assert (row["name"], row["job_key"]) == ("send_gift_card_email", f"send:{row['id']}")


def test_a_card_that_nobody_is_known_to_have_bought_tells_nobody(database: str, card: Issue, sql: Sql) -> None:
    assert fail(sql, card(recipient_phone=None)) is None
    assert next_ones(sql) == []


@pytest.mark.parametrize("state", ["scheduled", "queued", "sending", "unconfirmed", "sent", "delivered"])
def test_a_gift_that_is_under_way_the_other_way_is_enough(database: str, card: Issue, sql: Sql, state: str) -> None:
    card_id = card(purchaser_email=BUYER)
    sent(sql, card_id, "sms", state)

    assert fail(sql, card_id) is None
    assert sql("SELECT FROM jobs") == []


@pytest.mark.parametrize("state", ["bounced", "failed", "suppressed", "skipped", "cancelled"])
def test_when_both_ways_have_failed_the_purchaser_is_told(database: str, card: Issue, sql: Sql, state: str) -> None:
    card_id = card(purchaser_email=BUYER)
    sent(sql, card_id, "sms", state)

    assert fail(sql, card_id) == "purchaser"


def test_two_ways_that_fail_at_the_same_time_do_not_trust_in_each_other(database: str, card: Issue, sql: Sql) -> None:
    for _ in range(5):
        card_id = card(purchaser_email=BUYER)
        ids = {channel: sent(sql, card_id, channel, "sent") for channel in ("email", "sms")}
        gate = threading.Barrier(2)

        def bounce(channel: str, ids: dict[str, UUID] = ids, gate: threading.Barrier = gate) -> None:
            gate.wait()
            kind, provider = (Kind.HARD_BOUNCE, "ses") if channel == "email" else (Kind.FAILED, "twilio")
            inbox.take(Report(provider, f"e{ids[channel]}", kind, ids[channel], code="30003"))

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(bounce, ids))

    assert len(sql("SELECT FROM deliveries WHERE kind = 'notice'")) == 5


@pytest.mark.parametrize("kind", ["reminder", "notice"])
def test_reminders_and_notices_go_no_other_way(database: str, card: Issue, sql: Sql, kind: str) -> None:
    assert fail(sql, card(purchaser_email=BUYER), kind=kind) is None
    assert next_ones(sql) == []
    (event,) = sql("SELECT type, data FROM events")
    assert (event["type"], event["data"]["kind"]) == ("delivery.bounced", kind)


@pytest.mark.parametrize(
    "change",
    [
        "status = 'REDEEMED'",
        "status = 'CANCELLED'",
        "expires_on = current_date - 3",
        "recipient_email = 'new@example.com'",
    ],
)
def test_a_card_that_is_over_or_goes_to_somebody_else_is_left_alone(
    database: str, card: Issue, sql: Sql, change: str
) -> None:
    card_id = card(purchaser_email=BUYER)
    made = sent(sql, card_id, state="bounced")
    sql(f"UPDATE gift_cards SET {change} WHERE id = %s", card_id)

    assert again(card_id, made) is None
    assert next_ones(sql) == []


def test_a_corrected_recipient_that_fails_too_is_told_of_anew(database: str, card: Issue, sql: Sql) -> None:
    card_id = card(purchaser_email=BUYER, recipient_phone=None)
    first = fail(sql, card_id)
    sql("UPDATE gift_cards SET recipient_email = 'new@example.com' WHERE id = %s", card_id)
    made = sent(sql, card_id, state="bounced", dedupe_key=f"gift:{card_id}:r2:email", recipient_version=2)
    with db.transaction() as connection:
        second = fallback.gift_failed(connection, None, card_id, Failed(made, "gift", "email", 2), "hard_bounce")

    assert (first, second) == ("purchaser", "purchaser")
    assert len(sql("SELECT FROM deliveries WHERE kind = 'notice'")) == 2


@pytest.mark.parametrize(
    ("reason", "fact"),
    [("hard_bounce", "delivery.bounced"), ("soft_bounce", "delivery.bounced"), ("suppressed", "delivery.failed")],
)
def test_upstream_is_told_in_ids_and_words(database: str, card: Issue, sql: Sql, reason: str, fact: str) -> None:
    card_id = card()
    fail(sql, card_id, reason=reason)

    (event,) = sql("SELECT type, subject, data FROM events")
    assert (event["type"], event["subject"]) == (fact, card_id)
    assert event["data"].keys() == {"delivery_id", "kind", "channel", "reason"}
    assert PHONE not in str(sql("SELECT * FROM events, jobs"))


def test_a_bounce_that_a_provider_reports_sends_the_gift_as_a_text(
    database: str, card: Issue, sql: Sql, eventually: Callable[..., None]
) -> None:
    delivery_id = sent(sql, card())

    for _ in range(2):
        inbox.take(Report("ses", "e1", Kind.HARD_BOUNCE, delivery_id))

    assert [row["channel"] for row in next_ones(sql)] == ["sms"]
