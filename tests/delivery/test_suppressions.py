"""Who is not written to: how far that goes, and what ends it."""

from __future__ import annotations

import pytest

from shared import db, suppressions
from shared.messages import hint
from tests.delivery.hooks import ADDRESS, PHONE, suppressed
from tests.kinds import Sql

MG = "MG" + "0c" * 16


def why_not(channel: str, address: str, kind: str = "gift", sender: str | None = None) -> str | None:
    with db.transaction() as connection:
        return suppressions.suppression(connection, channel, address, kind=kind, sender=sender)


def suppress(channel: str, address: str, reason: str, scope: str = "all") -> bool:
    with db.transaction() as connection:
        return suppressions.suppress(connection, channel, address, reason, scope=scope)


def test_a_scope_reaches_as_far_as_it_says(database: str) -> None:
    suppress("email", ADDRESS, "unsubscribe", "reminders")
    suppress("sms", PHONE, "stop", f"from:{MG}")

    assert [why_not("email", ADDRESS, kind) for kind in ("gift", "reminder", "notice")] == [None, "unsubscribe", None]
    assert why_not("sms", PHONE, sender=MG) == "stop"
    assert why_not("sms", PHONE, sender="+15005550006") is None
    assert why_not("sms", ADDRESS, sender=MG) is None
    suppress("email", ADDRESS, "complaint")
    assert why_not("email", ADDRESS, "reminder") == "complaint"


@pytest.mark.parametrize(
    ("channel", "told", "asked"),
    [
        ("email", "Ada@Example.COM", ADDRESS),
        ("email", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("email", hint(ADDRESS), ADDRESS),
        ("sms", PHONE, "+1 (415) 555-0123"),
        ("sms", "tel:+1-415-555-0123", PHONE),
        ("email", "odd@localhost", " odd@localhost"),
    ],
)
def test_spellings_of_one_address_are_one(database: str, channel: str, told: str, asked: str) -> None:
    suppress(channel, told, "hard_bounce")

    assert why_not(channel, asked) == "hard_bounce"


def test_the_gravest_reason_stays_and_nothing_is_written_twice(database: str, sql: Sql) -> None:
    made = [suppress("email", ADDRESS, reason) for reason in ("soft_bounces", "complaint", "hard_bounce", "complaint")]

    assert made == [True, True, False, False]
    assert suppressed(sql) == [("email", "all", "complaint")]
    assert len(sql("SELECT FROM suppressions")) == 1


def test_what_is_done_by_hand_is_audited_and_what_is_lifted_stays_known(database: str, sql: Sql) -> None:
    with db.transaction() as connection:
        suppressions.suppress_by_hand(connection, "email", ADDRESS, who="kim", why="asked on the phone")
        lifted = suppressions.lift_by_hand(connection, "email", ADDRESS.upper(), who="kim", why="a mistake")

    assert lifted == ["manual"]
    assert why_not("email", ADDRESS) is None
    audit = sql("SELECT who, action, subject, reason FROM audit ORDER BY id")
    assert [(row["who"], row["action"], row["reason"]) for row in audit] == [
        ("kim", "suppress", "asked on the phone"),
        ("kim", "lift_suppression", "a mistake"),
    ]
    assert ADDRESS not in str(audit)
    assert suppress("email", ADDRESS, "hard_bounce")
    assert [row["reason"] for row in sql("SELECT reason FROM suppressions ORDER BY id")] == ["manual", "hard_bounce"]
