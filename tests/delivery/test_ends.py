"""However the job of a delivery ends without bringing it, the delivery ends with it: nothing waits for nobody."""

from __future__ import annotations

from uuid import UUID

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from services.console import resolving
from services.delivery.reports import inbox
from services.delivery.reports.report import Kind, Report
from shared import actor, db
from shared.invariants import violations
from shared.messages import DeliverGiftCard, SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.kinds import Deliver, Issue, JobOf, Setting, Sql
from tests.outside import Outside

SENDS = "SELECT id FROM jobs WHERE name = 'send_gift_card_email'"


@pytest.fixture
def service() -> None:
    """Run as the owner: more than one service's part is played here."""


def handed_over(card: Issue, deliver: Deliver, sql: Sql) -> UUID:
    """Hand a card over to e-mail, and give the job that will send it."""
    deliver(DeliverGiftCard(gift_card_id=card(), method="email"))
    [row] = sql(SENDS)
    return UUID(str(row["id"]))


def broken() -> dict[str, int]:
    with db.transaction() as connection:
        return {name: n for name, n in violations(connection).items() if n}


def test_the_delivery_of_a_cancelled_job_is_cancelled(card: Issue, deliver: Deliver, sql: Sql) -> None:
    job_id = handed_over(card, deliver, sql)

    sql("SELECT cancel_job(%s)", str(job_id))

    assert sql("SELECT state, reason FROM deliveries") == [{"state": "cancelled", "reason": "cancelled"}]
    assert broken() == {}


def test_the_delivery_of_a_job_that_came_too_late_says_so(card: Issue, deliver: Deliver, sql: Sql, job: JobOf) -> None:
    job_id = handed_over(card, deliver, sql)
    sql("UPDATE jobs SET not_after = clock_timestamp() - interval '1 second' WHERE id = %s", job_id)
    [row] = sql("SELECT gift_card_id, data FROM jobs WHERE id = %s", job_id)

    deliver(Envelope(SendGiftCardEmail.model_validate(row["data"]), id=job_id))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("skipped", "too_late")
    assert sql("SELECT state, reason FROM deliveries") == [{"state": "skipped", "reason": "too_late"}]
    assert broken() == {}


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("queued", ("failed", "retries_exhausted")), ("sending", ("unconfirmed", "held")), ("sent", ("sent", None))],
)
def test_the_delivery_of_a_job_that_fails_by_an_error_of_ours_is_told_of(
    was: str, becomes: tuple[str, str | None], card: Issue, deliver: Deliver, sql: Sql, setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    setting(backoff_s='{"send_gift_card_email": []}')

    def broken_actor(message: SendGiftCardEmail, job: object) -> None:
        sql("UPDATE deliveries SET state = %s, sending_at = clock_timestamp()", was)
        raise ZeroDivisionError

    job_id = handed_over(card, deliver, sql)
    monkeypatch.setitem(actor.FUNCTIONS, "send_gift_card_email", broken_actor)
    [row] = sql("SELECT data FROM jobs WHERE id = %s", job_id)
    sql("UPDATE jobs SET run_at = clock_timestamp() WHERE id = %s", job_id)

    deliver(Envelope(SendGiftCardEmail.model_validate(row["data"]), id=job_id))

    assert sql("SELECT state, reason FROM jobs WHERE id = %s", job_id)[0]["state"] == "failed"
    assert [(row["state"], row["reason"]) for row in sql("SELECT state, reason FROM deliveries")] == [becomes]
    told = sql("SELECT data ->> 'reason' AS reason FROM events WHERE type = 'delivery.failed'")
    assert [row["reason"] for row in told] == ([becomes[1]] if becomes[0] == "failed" else [])
    assert broken() == {}


def test_a_delivery_that_another_job_still_brings_goes_on(card: Issue, deliver: Deliver, sql: Sql) -> None:
    job_id = handed_over(card, deliver, sql)
    sql("SELECT enqueue_job('send_gift_card_email', (SELECT data FROM jobs WHERE id = %s))", job_id)

    sql("SELECT cancel_job(%s)", str(job_id))

    assert sql("SELECT state FROM deliveries") == [{"state": "queued"}]
    assert broken() == {}


def test_a_text_that_an_operator_saw_arrive_and_its_provider_gave_up_is_not_sent_again_by_its_job(
    card: Issue, deliver: Deliver, outside: Outside, sql: Sql, job: JobOf
) -> None:
    asked = Envelope(SendGiftCardSms(gift_card_id=card()))
    outside.behave("sms", "refuse", accept=True, status=500, code=20500)
    deliver(asked)  # accepted, and not told so: the job waits to ask
    [delivery] = sql("SELECT id FROM deliveries")
    with db.transaction() as connection:
        connection.execute(resolving.ARRIVED, (delivery["id"],))
        inbox.receive(connection, Report("twilio", "1", Kind.FAILED, delivery["id"], code="30008"))
    sql("UPDATE jobs SET run_at = clock_timestamp() WHERE id = %s", asked.id)

    deliver(asked)

    assert len(outside.messages("sms")) == 1
    assert (job(asked.id)["state"], job(asked.id)["reason"]) == ("failed", "undelivered")
