"""A process that stands still (SIGSTOP) until its lease is over, and wakes up late: it changes and sends nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.messages import ExpireGiftCard, SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from tests.failpoints.conftest import Recover, Run
from tests.kinds import HoldCards, Issue, JobOf, Ledger, Setting, Sql
from tests.outside import Outside

LEASE_S = 0.4


@pytest.mark.parametrize(
    ("message", "queue"), [(SendGiftCardEmail, "email-delivery"), (SendGiftCardSms, "sms-delivery")]
)
@pytest.mark.parametrize("point", ["claimed", "sending", "last-moment"])
def test_a_worker_that_wakes_up_late_does_not_send(
    message: Any,
    queue: str,
    point: str,
    nursery: Callable[..., dict[str, Any]],
    run: Run,
    recover: Recover,
    publisher: Publisher,
    card: Issue,
    outside: Outside,
    setting: Setting,
    sql: Sql,
) -> None:
    setting(lease_s=LEASE_S)
    publisher.send(message(gift_card_id=card()))
    still = run("consume", queue, failpoints=f"{point}=stop")
    assert still["stopped"]
    threading.Event().wait(LEASE_S)  # long enough by any clock; longer changes nothing
    setting(lease_s=60)
    recover(queue)  # the scheduler gives the job to another worker
    assert len(outside.messages()) == 1

    assert nursery(wake=still["pid"])["ended"] == 0

    assert len(outside.messages()) == 1
    assert sql("SELECT state, resends FROM deliveries") == [{"state": "sent", "resends": int(point != "claimed")}]
    assert sql("SELECT state, stalls, attempt FROM jobs") == [{"state": "succeeded", "stalls": 1, "attempt": 2}]


def test_a_worker_that_wakes_up_late_books_nothing(
    nursery: Callable[..., dict[str, Any]],
    run: Run,
    recover: Recover,
    publisher: Publisher,
    card: Issue,
    hold_cards: HoldCards,
    ledger: Ledger,
    job: JobOf,
) -> None:
    card_id = card(expired=True)
    job_id = publisher.send(ExpireGiftCard(gift_card_id=card_id))
    with hold_cards():
        still = run("consume", "gift-card-expiry", failpoints="claimed=stop")
    recover("gift-card-expiry")
    ended = job(job_id)

    assert nursery(wake=still["pid"])["ended"] == 0

    assert ledger(card_id) == [-25]
    assert job(job_id) == ended
