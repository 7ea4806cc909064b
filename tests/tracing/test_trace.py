"""One trace from whoever publishes to the provider: through queues, rows, relay, worker and SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from services.scheduler.relay import Relay
from shared import db
from shared.aio import AsyncPublisher
from shared.enqueue import enqueue
from shared.messages import DeliverGiftCard, ExpireGiftCard, Message, SendGiftCardEmail, SendGiftCardSms
from shared.publisher import Publisher
from shared.wire import Envelope, decode
from tests.kinds import Deliver, Eventually, Issue, JobOf, Sql, StartWorker
from tests.outside import Outside
from tests.scheduler.conftest import Waiting, waiting
from tests.tracing.conftest import Seen

__all__ = ["waiting"]
TRACE, UPSTREAM = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{UPSTREAM}-01"
SQL_WORDS = ("SELECT", "INSERT", "UPDATE", "WITH", "DELETE")


def of(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.trace_id:032x}"


def told(span: ReadableSpan) -> tuple[object, ...]:
    return tuple(
        (span.attributes or {}).get(f"giftcards.job.{name}") for name in ("name", "outcome", "reason", "attempt")
    )


def test_a_gift_for_later_is_one_trace_from_the_shop_to_the_mail_relay(
    seen: Seen, gift_for_later: Callable[[str], UUID], outside: Outside, sql: Sql
) -> None:
    gift_for_later(GIVEN)

    assert len(outside.messages("email")) == 1
    calls = [path for path in seen.paths() if not path.endswith(SQL_WORDS)]
    shop, again = "publish scheduled-delivery", "publish scheduled-delivery > publish scheduled-delivery"
    handed_on = f"{again} > process scheduled-delivery > publish email-delivery"
    assert calls == [
        shop,
        f"{shop} > process scheduled-delivery",
        again,
        f"{again} > process scheduled-delivery",
        handed_on,
        f"{handed_on} > process email-delivery",
        f"{handed_on} > process email-delivery > SMTP",
    ]
    assert {path.rpartition(" > ")[0] for path in seen.paths() if path.endswith(SQL_WORDS)} == {
        f"{shop} > process scheduled-delivery",
        f"{again} > process scheduled-delivery",
        f"{handed_on} > process email-delivery",
    }
    assert {of(span) for span in seen.all()} == {TRACE}
    first = seen.named("publish scheduled-delivery")[0]
    assert first.parent
    assert f"{first.parent.span_id:016x}" == UPSTREAM
    rows = sql("SELECT DISTINCT split_part(traceparent, '-', 2) AS trace_id FROM jobs")
    assert rows == [{"trace_id": TRACE}]


def test_the_run_of_a_job_says_which_it_was_and_how_it_ended(
    seen: Seen, deliver: Deliver, outside: Outside, card: Issue
) -> None:
    (sent,) = deliver(Envelope(SendGiftCardEmail(gift_card_id=card()), traceparent=GIVEN))
    deliver(SendGiftCardEmail(gift_card_id=card(recipient_email=None)))
    deliver(Envelope(ExpireGiftCard(gift_card_id=card()), run_at=datetime.now(UTC) + timedelta(days=1)))

    good, bad = seen.named("process email-delivery")
    (parked,) = seen.named("process gift-card-expiry")
    about = good.attributes or {}
    assert (about["messaging.message.id"], about["messaging.destination.name"]) == (str(sent), "email-delivery")
    assert told(good) == ("send_gift_card_email", "succeeded", None, 1)
    assert told(bad) == ("send_gift_card_email", "rejected", "no_address", 1)
    assert (good.status.is_ok, bad.status.is_ok) == (True, False)
    assert told(parked) == ("expire_gift_card", "parked", None, 0)


def test_a_mail_that_is_refused_shows_by_its_class(seen: Seen, deliver: Deliver, outside: Outside, card: Issue) -> None:
    outside.behave("email", "refuse", phase="rcpt", code=550, text="5.1.1 no such user")

    deliver(SendGiftCardEmail(gift_card_id=card()))

    (smtp,) = seen.named("SMTP")
    assert not smtp.status.is_ok
    assert (smtp.attributes or {})["error.type"] == "recipient"


def test_a_text_shows_twilios_answer_below_its_job(
    seen: Seen, publisher: Publisher, worker: StartWorker, outside: Outside, card: Issue, eventually: Eventually
) -> None:
    worker("sms-delivery")

    publisher.send(SendGiftCardSms(gift_card_id=card()), traceparent=GIVEN)

    eventually(lambda: seen.named("process sms-delivery"))
    (post,) = seen.named("POST")
    assert "publish sms-delivery > process sms-delivery > POST" in seen.paths()
    assert of(post) == TRACE
    assert (post.attributes or {})["http.status_code"] == 201
    assert str((post.attributes or {})["http.url"]).endswith("/Messages.json")
    assert len(outside.messages("sms")) == 1


def by_publisher(message: Message, rabbitmq: str, _: str) -> None:
    with Publisher(rabbitmq) as one:
        one.send(message)


def by_async_publisher(message: Message, rabbitmq: str, _: str) -> None:
    async def send() -> None:
        async with AsyncPublisher(rabbitmq) as one:
            await one.send(message)

    asyncio.run(send())


def by_sql(message: Message, rabbitmq: str, database: str) -> None:
    with psycopg.connect(database) as connection:
        enqueue(connection, message)
    with Publisher(rabbitmq) as one:
        Relay(one).publish_due()


@pytest.mark.parametrize("door", [by_publisher, by_async_publisher, by_sql])
def test_whoever_has_a_span_need_not_name_it(
    door: Callable[[Message, str, str], None],
    seen: Seen,
    publisher: Publisher,
    rabbitmq: str,
    database: str,
    waiting: Waiting,
) -> None:
    with trace.get_tracer("shop").start_as_current_span("order") as order:
        door(ExpireGiftCard(gift_card_id=uuid4()), rabbitmq, database)

    ((body,),) = waiting().values()
    (publish,) = seen.named("publish gift-card-expiry")
    assert publish.context
    expected = f"00-{order.get_span_context().trace_id:032x}-{publish.context.span_id:016x}-"
    assert (decode(body).traceparent or "").startswith(expected)
    assert "order > publish gift-card-expiry" in seen.paths()


def test_a_job_without_a_trace_has_that_of_its_first_publishing(
    seen: Seen, publisher: Publisher, database: str, deliver: Deliver, waiting: Waiting, job: JobOf
) -> None:
    with psycopg.connect(database) as connection:
        job_id = enqueue(connection, ExpireGiftCard(gift_card_id=uuid4()))
    Relay(publisher).publish_due()
    ((body,),) = waiting().values()

    deliver(decode(body))

    (publish,) = seen.named("publish gift-card-expiry")
    assert publish.parent is None
    assert job(job_id)["traceparent"].split("-")[1] == of(publish)


def test_statements_of_no_job_make_no_spans(seen: Seen, database: str) -> None:
    with db.transaction() as connection:
        connection.execute("SELECT 1")

    assert seen.all() == ()


def test_who_does_not_sample_has_no_spans_and_a_trace_all_the_same(
    seen: Seen, deliver: Deliver, card: Issue, sql: Sql
) -> None:
    deliver(Envelope(DeliverGiftCard(gift_card_id=card(), method="email"), traceparent=f"{GIVEN[:-2]}00"))

    assert seen.all() == ()
    parents = [row["traceparent"].split("-") for row in sql("SELECT traceparent FROM jobs")]
    assert [(parent[1], parent[3]) for parent in parents] == [(TRACE, "00")] * 2


def test_a_message_that_the_broker_refuses_is_a_failed_span(seen: Seen, rabbitmq: str, database: str, sql: Sql) -> None:
    with psycopg.connect(database) as connection:
        enqueue(connection, ExpireGiftCard(gift_card_id=uuid4()))

    with Publisher(rabbitmq) as nobody_listens:
        assert Relay(nobody_listens).publish_due() == 0

    (publish,) = seen.named("publish gift-card-expiry")
    assert (publish.status.is_ok, json.loads(publish.to_json())["attributes"]["error.type"]) == (False, "not_published")
