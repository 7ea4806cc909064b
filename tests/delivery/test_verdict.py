"""The judge of the proof is tried itself: it sees every kind of wrong that it counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.delivery.verdict import verdict

MAIL = {
    "address": "ada@example.com", "channel": "email", "state": "sent", "reason": None, "resends": 0,
    "message_id": "<m>", "provider_id": "Q1", "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
}  # fmt: skip
TEXT = MAIL | {"address": "+14155520001", "channel": "sms", "provider_id": "SM1", "message_id": None}
A_MAIL = {"to": "ada@example.com", "message_id": "<m>", "queue_id": "Q1"}
A_TEXT = {"to": "+14155520001", "sid": "SM1"}


@pytest.mark.parametrize(
    ("row", "change", "accepted", "wrong"),
    [
        (MAIL, {}, [A_MAIL], {}),
        (TEXT, {}, [A_TEXT], {}),
        (MAIL, {"resends": 1}, [A_MAIL, A_MAIL], {}),
        (MAIL, {"state": "unconfirmed", "reason": "held", "resends": 1}, [A_MAIL], {}),
        (MAIL, {"state": "failed", "reason": "recipient"}, [], {}),
        (MAIL, {"state": "failed"}, [], {"lost": 1}),
        (MAIL, {"state": "queued", "reason": "transient"}, [], {"lost": 1}),
        (MAIL, {"state": "failed", "reason": "recipient", "finished_at": None}, [], {"lost": 1}),
        (TEXT, {"state": "sending"}, [], {"lost": 1}),
        (TEXT, {"resends": 1}, [A_TEXT, A_TEXT], {"texts_doubled": 1}),
        (MAIL, {}, [A_MAIL, A_MAIL], {"mails_doubled": 1}),
        (MAIL, {"resends": 2}, [A_MAIL] * 3, {"mails_doubled": 1}),
        (MAIL, {}, [A_MAIL | {"message_id": "<another>"}], {"mails_doubled": 1}),
        (MAIL, {"state": "failed", "reason": "transient"}, [A_MAIL], {"not_in_rows": 1}),
        (TEXT, {"state": "skipped", "reason": "redeemed"}, [A_TEXT], {"not_in_rows": 1}),
        (MAIL, {"provider_id": "Q2"}, [A_MAIL], {"not_accepted": 1}),
        (MAIL, {}, [A_MAIL, A_TEXT], {"not_one_row": 1}),
    ],
)
def test_the_judge_sees_what_is_wrong(
    row: dict[str, Any], change: dict[str, Any], accepted: list[dict[str, Any]], wrong: dict[str, int]
) -> None:
    assert verdict([row | change], accepted).wrong() == wrong


def test_the_judge_misses_no_card_without_a_delivery_and_none_with_two() -> None:
    none = dict.fromkeys(MAIL) | {"address": "bob@example.com"}

    assert verdict([MAIL, none], [A_MAIL]).wrong() == {"lost": 1, "not_one_row": 1}
    assert verdict([MAIL, MAIL], [A_MAIL]).wrong() == {"not_one_row": 1}
