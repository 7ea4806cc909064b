"""The guards of expiry: a sweep that would do too much asks first, and an unreached gift does not expire silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import services.expiry.actors  # noqa: F401  # registers the actors
from shared import db
from shared.dry_run import dry_run
from shared.messages import ExpireDueGiftCards, ExpireGiftCard

Card = Callable[..., UUID]
Deliver = Callable[..., list[UUID]]
Sql = Callable[..., list[dict[str, Any]]]
JobRow = Callable[[UUID], dict[str, Any]]
Ledger = Callable[..., list[Decimal]]
Setting = Callable[..., None]


def test_a_sweep_over_the_share_stops_and_says_what_it_would_have_done(
    card: Card, deliver: Deliver, ledger: Ledger, sql: Sql, job: JobRow, setting: Setting
) -> None:
    setting(brake_cards=1, brake_share=0.5)
    due, _alive = [card("10.00", expired=True) for _ in range(3)], card()

    (job_id,) = deliver(ExpireDueGiftCards())

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "braked")
    assert "75% of the active cards" in job(job_id)["error"]
    assert [ledger(card_id) for card_id in due] == [[], [], []]
    (row,) = sql("SELECT details FROM brakes")
    assert row["details"] == {
        "cards": 3,
        "cards_by_currency": {"EUR": 3},
        "amounts": {"EUR": "30.0000"},
        "limit": "75% of the active cards, over 50%",
    }


def test_a_sweep_over_the_amount_stops_whatever_the_share(
    card: Card, deliver: Deliver, ledger: Ledger, setting: Setting, job: JobRow
) -> None:
    setting(brake_amounts=json.dumps({"EUR": "50"}))
    card_id = card("50.01", expired=True)

    (job_id,) = deliver(ExpireDueGiftCards())

    assert job(job_id)["reason"] == "braked"
    assert ledger(card_id) == []


def test_a_released_brake_lets_one_sweep_through_and_is_armed_again(
    card: Card, deliver: Deliver, ledger: Ledger, sql: Sql, setting: Setting, job: JobRow
) -> None:
    setting(brake_amounts=json.dumps({"EUR": "1"}))
    first = card(expired=True)
    deliver(ExpireDueGiftCards())
    sql("UPDATE brakes SET released_at = now(), released_by = 'ops', reason = 'looked at'")

    deliver(ExpireDueGiftCards())
    second = card(expired=True)
    (job_id,) = deliver(ExpireDueGiftCards())

    assert ledger(first) == [Decimal("-25.00")]
    assert (ledger(second), job(job_id)["reason"]) == ([], "braked")


def test_few_cards_are_never_a_share(card: Card, deliver: Deliver, ledger: Ledger) -> None:
    card_id = card(expired=True)  # all of the active cards

    deliver(ExpireDueGiftCards())

    assert ledger(card_id) == [Decimal("-25.00")]


def test_the_dry_run_changes_nothing(card: Card, sql: Sql, database: str) -> None:
    card("5.00", expired=True)

    with db.transaction() as connection:
        found = dry_run(connection)

    assert found == {"cards": 1, "cards_by_currency": {"EUR": 1}, "amounts": {"EUR": "5.0000"}, "limit": None}
    assert sql("SELECT FROM gift_cards WHERE status = 'ACTIVE'")


def gift(sql: Sql, card_id: UUID, state: str, channel: str = "email") -> None:
    sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state)"
        " VALUES (gen_random_uuid()::text, %s, 'gift', %s, 1, %s)",
        card_id,
        channel,
        state,
    )


def hold(sql: Sql, card_id: UUID) -> str | None:
    (row,) = sql("SELECT expiry_hold FROM gift_cards WHERE id = %s", card_id)
    return row["expiry_hold"]  # type: ignore[no-any-return]  # a column's value


def test_a_card_whose_gift_reached_nobody_is_held_and_its_purchaser_told_once(
    card: Card, deliver: Deliver, ledger: Ledger, sql: Sql
) -> None:
    lost = card(expired=True, purchaser_email="grace@example.com")
    gift(sql, lost, "failed")
    gift(sql, lost, "bounced", "sms")
    fine = card(expired=True)

    for _ in range(2):
        deliver(ExpireDueGiftCards())

    assert (hold(sql, lost), ledger(lost)) == ("unreached", [])
    assert ledger(fine) == [Decimal("-25.00")]
    assert len(sql("SELECT FROM deliveries WHERE kind = 'notice'")) == 1
    assert len(sql("SELECT FROM jobs WHERE name = 'send_gift_card_email'")) == 1
    assert [e["subject"] for e in sql("SELECT subject FROM events WHERE type = 'gift_card.expiry_held'")] == [lost]


def test_a_message_for_the_card_itself_does_not_get_round_the_guard(
    card: Card, deliver: Deliver, ledger: Ledger, sql: Sql, job: JobRow
) -> None:
    card_id = card(expired=True)
    gift(sql, card_id, "failed")

    (job_id,) = deliver(ExpireGiftCard(gift_card_id=card_id))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "unreached")
    assert ledger(card_id) == []


def test_what_arrived_or_may_have_and_what_was_never_to_be_delivered_expires(
    card: Card, deliver: Deliver, ledger: Ledger, sql: Sql
) -> None:
    ids = [card(expired=True) for _ in range(4)]
    for card_id, state in zip(ids, ["sent", "delivered", "unconfirmed"], strict=False):
        gift(sql, card_id, "failed", "sms")
        gift(sql, card_id, state)

    deliver(ExpireDueGiftCards())

    assert [ledger(card_id) for card_id in ids] == [[Decimal("-25.00")]] * 4


def test_a_held_card_expires_when_released_and_lives_on_when_extended(
    card: Card, deliver: Deliver, ledger: Ledger, sql: Sql
) -> None:
    released, extended = card(expired=True), card(expired=True)
    for card_id in (released, extended):
        gift(sql, card_id, "failed")
    deliver(ExpireDueGiftCards())

    sql("UPDATE gift_cards SET expiry_hold = 'released' WHERE id = %s", released)
    sql("UPDATE gift_cards SET expires_on = current_date + 30 WHERE id = %s", extended)
    deliver(ExpireDueGiftCards())

    assert ledger(released) == [Decimal("-25.00")]
    assert (hold(sql, extended), ledger(extended)) == (None, [])
