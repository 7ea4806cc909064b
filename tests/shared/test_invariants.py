"""The invariants: each sees every kind of wrong that it is about, and a clean life breaks none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import services.cleanup.actors
import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from services.scheduler.timetable import Timetable
from shared import db
from shared.invariants import INVARIANTS, count, drifted, violations
from shared.messages import (
    CancelDelivery,
    CleanupExpiredTokens,
    DeliverGiftCard,
    ExpireGiftCard,
    SendGiftCardEmail,
    SendGiftCardSms,
)
from shared.wire import Envelope
from tests.kinds import Deliver, Issue, Setting, Sql
from tests.outside import Outside

BY_ID = {one.id: one for one in INVARIANTS}
ENTRY = (
    "INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
    " expiry_version, idempotency_key) SELECT id, 2, {type}, 'EUR', -balance, balance, 0, 1, {type} FROM gift_cards;"
)
EXPIRY, REDEEM = ENTRY.format(type="'EXPIRY'"), ENTRY.format(type="'REDEEM'")
EXPIRED = "UPDATE gift_cards SET status = 'EXPIRED', balance = 0;"
SENT = (
    "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, expiry_version, state, reason,"
    " resends, sending_at, attempts) SELECT 'gift:' || id || ':r1:email', id, {kind}, 'email', {version}, 1, {state},"
    " {reason}, {resends}, clock_timestamp(), {attempts} FROM gift_cards;"
)
JOB = (
    "INSERT INTO jobs (name, queue, state, run_at, attempt, epoch, max_attempts, started_at, finished_at, lease_until,"
    " enqueued_at, dedupe_key, gift_card_id) SELECT {name}, 'maintenance', {state}, clock_timestamp() + {run_at},"
    " {attempt}, {epoch}, 4, clock_timestamp() - interval '2 seconds', {finished}, {lease},"
    " clock_timestamp() - interval '1 day', {key}, (SELECT id FROM gift_cards);"
)
CANCEL = (
    "UPDATE deliveries SET job_id = (SELECT id FROM jobs);"
    "INSERT INTO audit (at, who, action, subject, reason) SELECT clock_timestamp() - interval '1 minute', 'ada',"
    " 'cancel_delivery', id::text, 'order refunded' FROM gift_cards"
)


def sent(
    kind: str = "gift",
    version: int = 1,
    state: str = "sent",
    reason: str = "NULL",
    resends: int = 0,
    attempts: str = '[{"result": "accepted"}]',
) -> str:
    return SENT.format(
        kind=f"'{kind}'", version=version, state=f"'{state}'", reason=reason, resends=resends, attempts=f"'{attempts}'"
    )


def job(
    name: str = "prune_history",
    state: str = "succeeded",
    run_at: str = "-1 hour",
    attempt: int = 1,
    epoch: int = 1,
    finished: str = "clock_timestamp()",
    lease: str = "NULL",
    key: str = "NULL",
) -> str:
    return JOB.format(
        name=f"'{name}'",
        state=f"'{state}'",
        run_at=f"interval '{run_at}'",
        attempt=attempt,
        epoch=epoch,
        finished=finished,
        lease=lease,
        key=key,
    )


TWICE = '[{"result": "accepted"}, {"result": "accepted", "resend": true}]'
TICK = "INSERT INTO schedules VALUES ('prune_history', '2026-11-24 10:00Z');"
LEASE = "clock_timestamp() + interval '1 minute'"


@pytest.mark.parametrize(
    ("invariant", "wrong", "planted"),
    [
        ("I1", "a balance that nobody booked", "UPDATE gift_cards SET balance = 99"),
        ("I1", "a ledger that is gone", "DELETE FROM transactions"),
        ("I2", "an entry that does not continue", REDEEM.replace("SELECT id, 2", "SELECT id, 3")),
        ("I2", "an entry from another balance", "UPDATE transactions SET balance_before = 1, balance_after = 26"),
        ("I3", "expired and not booked", EXPIRED),
        ("I3", "booked and not expired", EXPIRY),
        ("I4", "expired before its day", EXPIRED + EXPIRY),
        (
            "I4",
            "redeemed after it expired",
            EXPIRED + EXPIRY + "UPDATE gift_cards SET expires_at = '2020-01-01Z';"
            "INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,"
            " idempotency_key) SELECT id, 3, 'REDEEM', 'EUR', 0, 0, 0, 'r' FROM gift_cards",
        ),
        ("I5", "due and active", "UPDATE gift_cards SET expires_at = clock_timestamp() - interval '3 minutes'"),
        ("I6", "accepted twice", sent(resends=1, attempts=TWICE)),
        ("I6", "a second resend", sent(resends=2)),
        ("I6", "a resend that nobody counted", sent(attempts='[{}, {"result": "accepted", "resend": false}]')),
        ("I8", "nobody brings it", sent(state="queued", attempts="[]")),
        ("I8", "its job has failed", sent(state="sending") + job("send_gift_card_email", "failed")),
        ("I8", "an end without a reason", sent(state="failed", attempts="[]")),
        ("I8", "handed over to nobody", job("deliver_gift_card")),
        ("I9", "made for one recipient, sent to the next", sent(version=2)),
        ("I9", "sent after its cancel", sent() + job("send_gift_card_email") + CANCEL),
        ("I10", "started before its time", job(run_at="1 hour")),
        ("I10", "reminded of an expired card", sent("reminder") + "UPDATE gift_cards SET expires_at = '2020-01-01Z'"),
        ("I11", "due for long", job(state="queued", finished="NULL")),
        (
            "I11",
            "a lease in the past",
            job(state="running", finished="NULL", lease="clock_timestamp() - interval '1h'"),
        ),
        ("I12", "a tick without a job", TICK),
        ("I12", "a tick with two jobs", job(key="'cron:prune_history:x'") * 2),
        (
            "I13",
            "a token that is long over",
            "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
            " VALUES (gen_random_uuid(), 'x', clock_timestamp() - interval '73 hours')",
        ),
        ("I14", "tried too often", job(attempt=5, epoch=5)),
        ("I16", "an attempt that was never claimed", job(attempt=2)),
        ("I16", "an end older than its run", job(finished="clock_timestamp() - interval '1 minute'")),
        ("I16", "over, and still leased", job(lease=LEASE)),
        ("I16", "over, and without an end", job(finished="NULL")),
    ],
)
def test_each_kind_of_wrong_is_counted(invariant: str, wrong: str, planted: str, card: Issue, sql: Sql) -> None:
    card()
    with db.transaction() as connection:
        assert count(connection, BY_ID[invariant]) == 0

    with db.connect(autocommit=True) as shop:
        shop.execute("SET session_replication_role = replica")  # past all triggers, as only a bug or a superuser gets
        for statement in filter(str.strip, planted.split(";")):
            shop.execute(statement.encode())

    with db.transaction() as connection:
        assert count(connection, BY_ID[invariant]) == 1, wrong


def test_every_invariant_has_been_broken_on_purpose() -> None:
    [planted] = [m for m in test_each_kind_of_wrong_is_counted.pytestmark if m.name == "parametrize"]  # type: ignore[attr-defined]

    assert {row[0] for row in planted.args[1]} == set(BY_ID)
    assert list(BY_ID) == sorted(BY_ID, key=lambda name: int(name[1:]))


def test_a_clean_life_breaks_none(card: Issue, deliver: Deliver, outside: Outside, setting: Setting, sql: Sql) -> None:
    setting(timetable__prune_history__cron="* * * * *", timetable__cleanup_expired_tokens__zone="Asia/Kathmandu")
    sql("INSERT INTO schedules VALUES ('prune_history', now() - interval '1 hour'),"
        " ('cleanup_expired_tokens', now() - interval '2 days')")  # fmt: skip
    sql("INSERT INTO refresh_tokens (user_id, token_hash, expires_at) SELECT gen_random_uuid(), d::text,"
        " clock_timestamp() - d * interval '1 day' FROM generate_series(-1, 9) d")  # fmt: skip
    given, later = card(), datetime.now(UTC) + timedelta(days=3)
    outside.behave("email", "cut", accept=True)

    Timetable().fire()
    deliver(ExpireGiftCard(gift_card_id=card(expired=True)), CleanupExpiredTokens())
    deliver(SendGiftCardEmail(gift_card_id=given), SendGiftCardSms(gift_card_id=given))
    asked = Envelope(DeliverGiftCard(gift_card_id=card(), method="both", deliver_at=later), run_at=later)
    deliver(asked)
    deliver(CancelDelivery(gift_card_id=asked.message.gift_card_id, requested_by="ada", reason="order refunded"))  # type: ignore[attr-defined]

    with db.transaction() as connection:
        assert {name: n for name, n in violations(connection).items() if n} == {}
    assert sql("SELECT FROM job_keys WHERE dedupe_key LIKE 'cron:%%'")


def test_a_line_that_may_miss_ticks_is_not_held_to_them(sql: Sql) -> None:
    sql(TICK)

    with db.transaction() as connection:
        assert count(connection, BY_ID["I12"], skipping=["prune_history"]) == 0


def test_a_query_that_takes_too_long_is_given_up_and_the_next_one_goes_on(sql: Sql) -> None:
    slow = BY_ID["I14"].__class__("I0", "", "", "SELECT count(pg_sleep(30))")

    with db.transaction() as connection:
        with pytest.raises(psycopg.errors.QueryCanceled):
            count(connection, slow, limit_s=0.01)
        assert count(connection, BY_ID["I14"]) == 0


def test_the_cards_that_drifted_are_named_with_how_often(card: Issue, sql: Sql) -> None:
    right, wrong = card(), card()
    sql("UPDATE gift_cards SET balance = 99 WHERE id = %s", wrong)

    with db.transaction() as connection:
        assert drifted(connection) == [{"gift_card_id": wrong, "violations": 1}]
    assert right != wrong
