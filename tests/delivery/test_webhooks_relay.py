"""What any other relay tells, in our own form."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.delivery.hooks import (
    ADDRESS,
    RELAY_KEY,
    Hooks,
    named,
    relay_headers,
    sent,
    standing,
    suppressed,
)
from tests.kinds import Issue, Sql

GONE = [("email", "all", "hard_bounce")]
SPAM = [("email", "all", "complaint")]
NO_REMINDERS = [("email", "reminders", "unsubscribe")]


@pytest.mark.parametrize(
    ("kind", "code", "state", "reason", "stopped"),
    [
        ("accepted", None, "sent", None, []),
        ("deferred", "4.2.0", "sent", None, []),
        ("delivered", None, "delivered", None, []),
        ("failed", "5.6.0", "failed", "failed", []),
        ("soft_bounce", "5.2.2", "bounced", "soft_bounce", []),
        ("hard_bounce", "5.1.1", "bounced", "hard_bounce", GONE),
        ("complaint", None, "delivered", None, SPAM),
        ("unsubscribe", None, "sent", None, NO_REMINDERS),
    ],
)
def test_another_relay_tells_it_in_our_form(
    hooks: Hooks, card: Issue, sql: Sql, kind: str, code: str | None, state: str, reason: str | None, stopped: list[Any]
) -> None:
    delivery_id = sent(sql, card())

    answer = hooks.relay({"kind": kind, "message_id": named(delivery_id), "email": ADDRESS, "code": code})

    assert answer.status_code == 200
    assert standing(sql, delivery_id) == (state, reason)
    assert suppressed(sql) == stopped


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"kind": "bounced", "email": ADDRESS}, "events.0.kind: literal_error"),
        ({"email": ADDRESS}, "events.0.kind: missing"),
        ({"kind": "delivered"}, "an event needs message_id, provider_id or email"),
    ],
)
def test_another_relay_is_told_what_is_wrong(hooks: Hooks, event: dict[str, Any], says: str) -> None:
    answer = hooks.relay(event)

    assert answer.status_code == 400
    assert says in answer.text
    assert ADDRESS not in answer.text


def test_a_post_that_was_signed_six_minutes_ago_is_a_replay(hooks: Hooks) -> None:
    body = b'{"events": []}'
    old = relay_headers(body, time.time() - 360)

    assert hooks.post("/email/events", body, headers=old).status_code == 403
    assert hooks.post("/email/events", body, headers=relay_headers(body)).status_code == 200
    assert RELAY_KEY not in str(old)


def test_a_bounce_of_an_unknown_mail_still_stops_mail_to_its_address(hooks: Hooks, sql: Sql) -> None:
    hooks.relay({"kind": "hard_bounce", "provider_id": "never-seen", "email": ADDRESS.upper()})

    assert suppressed(sql) == GONE
    (row,) = sql("SELECT applied_at FROM provider_events")
    assert row["applied_at"] is None
