"""Cards that are expired together: what is certain is done at once, and the rest as if each had come alone."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from shared import db, taking
from shared.messages import ExpireGiftCard
from shared.wire import Envelope
from tests.kinds import Issue, Ledger, Sql


@pytest.fixture
def service() -> str:
    return "expiry"


def states(*envelopes: Envelope) -> list[str | None]:
    """Take messages as one group, and say how each stands: None is a copy of another."""
    with db.transaction() as connection:
        taken = taking.take(connection, [(envelope, False) for envelope in envelopes])
    return [job.state if job else None for job, _ in taken]


def expire(card_id: object, version: int | None = None) -> Envelope:
    return Envelope(ExpireGiftCard.model_validate({"gift_card_id": card_id, "expiry_version": version}))


def test_cards_that_are_due_are_booked_in_one_transaction(card: Issue, ledger: Ledger, sql: Sql) -> None:
    cards = [card(expired=True) for _ in range(3)]

    assert states(*map(expire, cards)) == ["succeeded"] * 3

    assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 3
    assert len(sql("SELECT DISTINCT xmin::text FROM transactions WHERE type = 'EXPIRY'")) == 1
    assert len(sql("SELECT DISTINCT job_id FROM transactions JOIN jobs ON jobs.id = job_id")) == 3
    assert len(sql("SELECT FROM events WHERE type = 'gift_card.expired'")) == 3


def test_what_is_not_certain_is_claimed_and_goes_its_own_way(card: Issue, ledger: Ledger, sql: Sql) -> None:
    due, early, unreached, version = card(expired=True), card(), card(expired=True), card(expired=True)
    sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, template_id, recipient_version, state)"
        " VALUES ('x', %s, 'gift', 'email', 'gift_card', 1, 'failed')",
        unreached,
    )
    found = states(expire(due), expire(early), expire(unreached), expire(version, 7), expire(uuid4()))

    assert found == ["succeeded", "running", "running", "running", "running"]
    assert [ledger(card_id) for card_id in (early, unreached, version)] == [[], [], []]


def test_two_jobs_for_one_card_book_it_once(card: Issue, ledger: Ledger) -> None:
    card_id = card(expired=True)

    assert sorted(map(str, states(expire(card_id), expire(card_id)))) == ["running", "succeeded"]
    assert ledger(card_id) == [Decimal(-25)]


def test_a_copy_in_the_same_group_is_a_duplicate(card: Issue, ledger: Ledger) -> None:
    card_id = card(expired=True)
    one = expire(card_id)

    assert states(one, one) == ["succeeded", None]
    assert ledger(card_id) == [Decimal(-25)]


def test_a_ledger_that_is_broken_stops_its_own_card_only(card: Issue, ledger: Ledger, sql: Sql) -> None:
    good, broken = card(expired=True), card(expired=True)
    sql("UPDATE gift_cards SET balance = balance + 1 WHERE id = %s", broken)
    envelopes = expire(good), expire(broken)

    assert states(*envelopes) == ["running", "running"], "each alone now"
    assert (ledger(good), ledger(broken)) == ([], [])


def test_a_card_in_other_hands_is_not_waited_for(card: Issue, ledger: Ledger) -> None:
    free, held = card(expired=True), card(expired=True)

    with db.connect() as other:
        other.execute("SELECT FROM gift_cards WHERE id = %s FOR UPDATE", (held,))
        assert states(expire(free), expire(held)) == ["succeeded", "running"]

    assert (ledger(free), ledger(held)) == ([Decimal(-25)], [])


def test_what_comes_again_is_claimed_before_anything_is_done(card: Issue, ledger: Ledger) -> None:
    """It may have killed its worker."""
    card_id = card(expired=True)

    with db.transaction() as connection:
        ((job, _),) = taking.take(connection, [(expire(card_id), True)])

    assert job is not None
    assert job.state == "running"
    assert ledger(card_id) == []
