"""A bad day in numbers: answers are swallowed and workers killed at random; nothing is lost and no text goes twice.

``PROOF_SENDS`` and ``PROOF_SEED`` choose another size and another day; ``-s`` prints the figures.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest

from services.delivery import codes
from shared import db
from shared.enqueue import enqueue
from shared.invariants import violations
from shared.messages import Message, SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from shared.settings import settings
from tests.delivery.fleet import Fleet
from tests.delivery.verdict import DELIVERIES, Verdict, verdict
from tests.kinds import Setting, Sql
from tests.outside import Outside

SENDS = int(os.environ.get("PROOF_SENDS", "1000"))
SEED = int(os.environ.get("PROOF_SEED", "2026"))
ENOUGH = 0.3  # of the sends shows that the control run fails
PATIENCE_S = 600
ISSUE = """
WITH c AS (
    INSERT INTO gift_cards (id, currency, balance, code_encrypted, code_last4, expires_on, recipient_email,
        recipient_phone, ledger_sequence)
    SELECT id, 'EUR', 25, code, 'WXYZ', current_date + 365, email, phone, 1
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) AS t (id, code, email, phone) RETURNING *)
INSERT INTO transactions
    (gift_card_id, sequence, type, currency, amount, balance_before, balance_after, idempotency_key)
SELECT id, 1, 'ISSUE', currency, balance, 0, balance, 'issue:' || id FROM c
"""
KNOWN = "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) AS ended FROM jobs WHERE id = ANY(%s)"
# Share of the sends that meets each: 8 % swallowed answers, and what else relays and Twilio do on such a day.
Proof: TypeAlias = Callable[[str, int], tuple[Verdict, dict[str, int]]]
TROUBLE: dict[str, list[tuple[float, dict[str, Any]]]] = {
    "email": [
        (0.08, {"do": "cut", "phase": "dot", "accept": True}),
        (0.005, {"do": "cut", "phase": "dot", "accept": True, "times": 2}),
        (0.005, {"do": "hang", "phase": "dot", "accept": True}),
        (0.02, {"do": "cut", "phase": "dot"}),
        (0.02, {"do": "cut", "phase": "data"}),
        (0.03, {"do": "refuse", "phase": "rcpt", "code": 451, "text": "4.3.0 try later"}),
        (0.01, {"do": "refuse", "phase": "rcpt", "code": 550, "text": "5.1.1 nobody here"}),
    ],
    "sms": [
        (0.04, {"do": "cut", "accept": True}),
        (0.02, {"do": "hang", "accept": True}),
        (0.02, {"do": "refuse", "accept": True, "status": 500, "code": 20500}),
        (0.01, {"do": "cut"}),
        (0.01, {"do": "refuse", "status": 503, "code": 20503}),
        (0.03, {"do": "refuse", "status": 429, "code": 20429, "retry_after_s": 1}),
        (0.01, {"do": "refuse", "code": 21614, "text": "not a mobile number"}),
    ],
}


@pytest.fixture
def service() -> None:
    """Run as the owner: more than one service's part is played here."""


@pytest.fixture
def a_bad_day(
    database: str, rabbitmq: str, publisher: Publisher, outside: Outside, setting: Setting, sql: Sql, tmp_path: Path
) -> Proof:
    """Send so many gifts through workers of a module on a bad day; give the verdict and the invariants' violations."""
    setting(
        lease_s=4,
        settle_s=0.5,
        twilio_timeout_s=1,
        backoff_s=json.dumps({name: [0.5] * 12 for name in ("send_gift_card_email", "send_gift_card_sms")}),
    )

    def run(module: str, sends: int) -> tuple[Verdict, dict[str, int]]:
        dice = Random(SEED)
        cards = issue(sends, sql)
        make_trouble(sends, outside, dice)
        marks = sorted(dice.sample(range(sends // 50, sends * 9 // 10), max(6, sends // 70)))
        with Fleet(module, tmp_path / "processes.log", dice, workers=2) as fleet:
            asked = ask_for(cards, publisher, dice)
            kill_meanwhile(fleet, outside, marks)
            await_the_end(fleet, outside, asked, sql)
            deaths = fleet.deaths
        with db.transaction() as connection:
            broken = {name: count for name, count in violations(connection).items() if count}
        found = verdict(sql(DELIVERIES), outside.journal.entries())
        swallowed = sum(rule["accept"] and not rule["times"] for rule in outside.behaviours.as_json())
        assert swallowed > 0.07 * sends  # or the day was not as bad as it was meant to be
        print(f"{len(asked)} asked for, {len(outside.journal)} accepted, {swallowed} answers swallowed,")
        print(f"{deaths} workers killed: {found}")
        return found, broken

    return run


def issue(sends: int, sql: Sql) -> dict[UUID, type[Message]]:
    """Issue cards, every other one for e-mail and for SMS, each with a recipient and a code of its own."""
    cards: dict[UUID, type[Message]] = {uuid4(): (SendGiftCardEmail, SendGiftCardSms)[n % 2] for n in range(sends)}
    sql(
        ISSUE,
        list(cards),
        [codes.encrypt(f"GIFT-{n:05}-WXYZ", settings()) for n in range(sends)],
        [None if n % 2 else address(n) for n in range(sends)],
        [address(n) if n % 2 else None for n in range(sends)],
    )
    return cards


def address(n: int) -> str:
    return f"+1415552{n:04}" if n % 2 else f"ada{n}@example.com"


def make_trouble(sends: int, outside: Outside, dice: Random) -> None:
    """Let each trouble meet its share of the recipients, once."""
    for channel, troubles in TROUBLE.items():
        numbers = list(range(channel == "sms", sends, 2))
        dice.shuffle(numbers)
        for share, trouble in troubles:
            for _ in range(max(1, round(share * sends / 2))):
                outside.behave(channel, to=address(numbers.pop()), **trouble)


def ask_for(cards: dict[UUID, type[Message]], publisher: Publisher, dice: Random) -> list[UUID]:
    """Ask for every send, half of them over AMQP and half in SQL, and for one in twenty twice."""
    messages = [message.model_validate({"gift_card_id": card_id}) for card_id, message in cards.items()]
    messages += dice.sample(messages, len(messages) // 20)
    dice.shuffle(messages)
    half = len(messages) // 2
    published = publisher.send_many(messages[:half])
    with db.transaction() as connection:
        return [*published, *(enqueue(connection, message) for message in messages[half:])]


def kill_meanwhile(fleet: Fleet, outside: Outside, marks: list[int]) -> None:
    """Kill a worker whenever so many messages have been accepted."""
    deadline = time.monotonic() + PATIENCE_S
    for mark in marks:
        while len(outside.journal) < mark:
            assert time.monotonic() < deadline, f"only {len(outside.journal)} of {mark} accepted"
            fleet.keep_up()
            time.sleep(0.05)
        fleet.kill_one()


def await_the_end(fleet: Fleet, outside: Outside, asked: list[UUID], sql: Sql) -> None:
    """Wait until every job that was asked for has ended; the relay restarts now and then, which ends what hangs."""
    deadline = time.monotonic() + PATIENCE_S
    while (ended := sql(KNOWN, asked)[0]["ended"]) < len(asked):
        assert time.monotonic() < deadline, f"only {ended} of {len(asked)} jobs have ended"
        fleet.keep_up()
        time.sleep(3)
        outside.drop_connections()


@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("heavy")
def test_on_a_bad_day_nothing_is_lost_no_text_is_doubled_and_a_mail_only_as_a_counted_resend(
    a_bad_day: Proof,
) -> None:
    found, broken = a_bad_day("services.delivery.actors", SENDS)

    assert found.wrong() == {}
    assert broken == {}
    assert found.resent > 0  # as the price of losing none


@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("heavy")
def test_the_same_day_shows_doubles_where_the_unknown_is_simply_tried_again(
    a_bad_day: Proof,
) -> None:
    found, _ = a_bad_day("tests.delivery.blind", int(SENDS * ENOUGH))

    assert found.texts_doubled > 0
    assert found.mails_doubled > 0
