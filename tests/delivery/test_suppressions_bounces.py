"""Which refusals mean "never again", and which only "not now"."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from services.delivery import bounces
from services.delivery.reports import inbox
from services.delivery.reports.report import Kind, Report
from shared import db, suppressions
from shared.messages import hint
from tests.delivery.hooks import ADDRESS, PHONE, suppressed
from tests.kinds import Setting, Sql

MG = "MG" + "0c" * 16


def refused(channel: str, address: str, code: str, **about: UUID | str) -> str | None:
    with db.transaction() as connection:
        return bounces.from_refusal(connection, channel, address, code, **about)  # type: ignore[arg-type]


NEVER_AGAIN = ["550 5.1.1", "550 5.1.2", "550 5.1.3", "550 5.1.6", "550 5.1.10", "551", "551 5.1.6", "553 5.1.3",
               "550 5.2.1", "550 5.4.4", "511 5.1.1"]  # fmt: skip
ONLY_NOW = ["550", "421", "450 4.2.0", "451 4.3.0", "452 4.2.2", "552 5.2.2", "550 5.7.1", "554 5.7.1", "535 5.7.8",
            "552 5.3.4", "554 5.6.0", "550 5.1.8", "550 5.1.7", "553 5.1.8", "553 5.1.7", "no_smtputf8",
            "connection_lost", "553"]  # fmt: skip


def test_only_codes_that_mean_never_again_stop_mail(database: str, sql: Sql) -> None:
    found = {code: refused("email", f"{n}@example.com", code) for n, code in enumerate(NEVER_AGAIN + ONLY_NOW)}

    assert found == dict.fromkeys(NEVER_AGAIN, "hard_bounce") | dict.fromkeys(ONLY_NOW)
    assert suppressed(sql) == [("email", "all", "hard_bounce")] * len(NEVER_AGAIN)


def test_only_codes_that_mean_never_again_stop_texts(database: str, sql: Sql) -> None:
    never = ["21211", "21401", "21614", "30004", "30005", "30006"]
    only_now = ["21612", "30003", "30007", "30008", "20429", "20003", "21408", "30001", "no_reply", "20500"]

    found = {code: refused("sms", f"+1415555{n:04}", code) for n, code in enumerate(never + only_now)}

    assert found == dict.fromkeys(never, "hard_bounce") | dict.fromkeys(only_now)
    assert suppressed(sql) == [("sms", "all", "hard_bounce")] * len(never)


def test_who_said_stop_is_out_of_reach_of_that_sender_only(database: str, setting: Setting, sql: Sql) -> None:
    setting(twilio_from=MG)

    assert refused("sms", PHONE, "21610") == "stop"
    assert refused("sms", PHONE, "21610", sender="+15005550006") == "stop"
    assert [scope for _, scope, _ in suppressed(sql)] == ["from:+15005550006", f"from:{MG}"]


def test_a_mailbox_that_is_full_for_three_mails_in_a_week_is_given_up(database: str, sql: Sql) -> None:
    one, two, three = uuid4(), uuid4(), uuid4()

    tried = [refused("email", ADDRESS, "452 4.2.2", delivery_id=mail) for mail in (one, one, one, two, two)]
    third = refused("email", ADDRESS, "552 5.2.2", delivery_id=three)

    assert tried == [None] * 5
    assert third == "soft_bounces"
    assert suppressed(sql) == [("email", "all", "soft_bounces")]


@pytest.mark.parametrize("forgiven", ["received_at = received_at - interval '8 days'", "address_hash = 'other'"])
def test_old_bounces_and_those_of_others_do_not_count(database: str, sql: Sql, forgiven: str) -> None:
    for _ in range(2):
        refused("email", ADDRESS, "552 5.2.2", delivery_id=uuid4())
    sql(f"UPDATE provider_events SET {forgiven}")

    assert refused("email", ADDRESS, "552 5.2.2", delivery_id=uuid4()) is None


def test_a_mailbox_that_was_freed_by_hand_starts_anew(database: str) -> None:
    for _ in range(3):
        refused("email", ADDRESS, "552 5.2.2", delivery_id=uuid4())
    with db.transaction() as connection:
        suppressions.lift_by_hand(connection, "email", ADDRESS, who="kim", why="she made room")

    assert [refused("email", ADDRESS, "552 5.2.2", delivery_id=uuid4()) for _ in range(3)] == [
        None,
        None,
        "soft_bounces",
    ]


def test_a_mail_that_was_refused_and_reported_counts_once(database: str) -> None:
    one, two = uuid4(), uuid4()

    for mail in (one, two):
        inbox.take(Report("ses", mail.hex, Kind.SOFT_BOUNCE, mail, address=hint(ADDRESS)))
    tried = [refused("email", ADDRESS, "552 5.2.2", delivery_id=mail) for mail in (one, two)]

    assert tried == [None, None]
