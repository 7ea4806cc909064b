"""A worker killed twenty times at each point on the way to a provider: no gift is lost, no text is sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from tests.delivery.verdict import DELIVERIES, verdict
from tests.failpoints.conftest import KILLS, Die, Recover, Run
from tests.kinds import Issue, Sql
from tests.outside import Outside

QUEUES = {"email": "email-delivery", "sms": "sms-delivery"}
Ask: TypeAlias = Callable[[str], None]
TOLD = "SELECT state, resends, count(*) AS n FROM deliveries GROUP BY 1, 2"


def address(channel: str, n: int) -> str:
    return f"ada{n}@example.com" if channel == "email" else f"+1415552{n:04}"


@pytest.fixture
def ask(card: Issue, publisher: Publisher, outside: Outside) -> Ask:
    """Ask for a gift by e-mail or SMS, for twenty people of whom nothing else is known."""

    def send(channel: str) -> None:
        for n in range(KILLS):
            own: dict[str, Any] = {"recipient_email": None, "recipient_phone": None}
            own["recipient_email" if channel == "email" else "recipient_phone"] = address(channel, n)
            message = SendGiftCardEmail if channel == "email" else SendGiftCardSms
            publisher.send(message(gift_card_id=card(**own)))

    return send


def accepted(outside: Outside, sql: Sql) -> set[int]:
    """Give how often people got their message, once the rows were held against the journal."""
    assert verdict(sql(DELIVERIES), outside.journal.entries()).wrong() == {}
    return set(Counter(entry["to"] for entry in outside.journal.entries()).values())


@pytest.mark.parametrize(
    ("channel", "point", "times", "resends"),
    [
        ("email", "claimed", 1, 0),  # nothing has happened yet
        ("email", "sending", 1, 1),  # it may have been sent, for all the next worker knows
        ("email", "last-moment", 1, 1),
        ("email", "accepted", 2, 1),  # it was, and nobody can be asked: the one resend, counted
        ("email", "effect", 1, 0),
        ("email", "committed", 1, 0),
        ("sms", "claimed", 1, 0),
        ("sms", "sending", 1, 1),
        ("sms", "last-moment", 1, 1),
        ("sms", "accepted", 1, 0),  # it was, and Twilio says so when it is asked
        ("sms", "effect", 1, 0),
        ("sms", "committed", 1, 0),
    ],
)
def test_a_gift_whose_worker_dies_arrives(
    channel: str, point: str, times: int, resends: int, ask: Ask, die: Die, recover: Recover, outside: Outside, sql: Sql
) -> None:
    ask(channel)

    die(point, "consume", QUEUES[channel])
    recover(QUEUES[channel])

    assert accepted(outside, sql) == {times}
    assert sql(TOLD) == [{"state": "sent", "resends": resends, "n": KILLS}]


@pytest.mark.parametrize("channel", QUEUES)
def test_a_gift_whose_worker_dies_over_a_refusal_arrives(
    channel: str, ask: Ask, die: Die, recover: Recover, outside: Outside, sql: Sql
) -> None:
    for n in range(KILLS):
        how = {"phase": "rcpt", "code": 451, "text": "4.3.0 later"} if channel == "email" else {"code": 20429}
        outside.behave(channel, "refuse", to=address(channel, n), **how)
    ask(channel)

    die("refused", "consume", QUEUES[channel])
    recover(QUEUES[channel])

    assert accepted(outside, sql) == {1}
    assert sql(TOLD) == [{"state": "sent", "resends": 1, "n": KILLS}]


@pytest.mark.parametrize(
    ("channel", "point", "taken", "resends"),
    [
        ("sms", "asked", True, 0),
        ("sms", "settling", True, 0),
        ("sms", "settling", False, 1),
        ("email", "settling", True, 1),
    ],
)
def test_a_gift_of_unknown_outcome_whose_worker_dies_while_it_finds_out_is_still_found_out(
    channel: str,
    point: str,
    taken: bool,
    resends: int,
    ask: Ask,
    die: Die,
    run: Run,
    recover: Recover,
    outside: Outside,
    sql: Sql,
) -> None:
    for n in range(KILLS):
        outside.behave(channel, "cut", accept=taken, to=address(channel, n))
    ask(channel)
    assert run("consume", QUEUES[channel])["ended"] == 0  # nobody says whether it was taken
    assert sql("SELECT DISTINCT state FROM deliveries") == [{"state": "unconfirmed"}]
    sql("UPDATE jobs SET run_at = clock_timestamp()")
    assert run("relay")["ended"] == 0

    die(point, "consume", QUEUES[channel])
    recover(QUEUES[channel])

    assert accepted(outside, sql) == {1 + resends if taken else 1}
    assert sql(TOLD) == [{"state": "sent", "resends": resends, "n": KILLS}]


def test_a_gift_whose_worker_dies_while_it_goes_the_other_way_goes_there_once(
    die: Die, recover: Recover, card: Issue, publisher: Publisher, outside: Outside, sql: Sql
) -> None:
    outside.behave("sms", "refuse", code=21614, text="not a mobile number", times=None)
    for n in range(KILLS):
        card_id = card(recipient_email=address("email", n), recipient_phone=address("sms", n))
        publisher.send(SendGiftCardSms(gift_card_id=card_id))

    die("falling-back", "consume", "sms-delivery")
    assert outside.messages() == []
    recover("sms-delivery", "email-delivery")

    assert sorted(m["to"] for m in outside.messages()) == sorted(address("email", n) for n in range(KILLS))
    assert sql("SELECT channel, state, count(*) AS n FROM deliveries GROUP BY 1, 2 ORDER BY 1") == [
        {"channel": "email", "state": "sent", "n": KILLS},
        {"channel": "sms", "state": "unconfirmed", "n": KILLS},  # all that its rows say is that an attempt began
    ]
