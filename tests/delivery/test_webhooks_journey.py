"""A text on its whole way: sent by a worker, reported on by Twilio, known in the record."""

from __future__ import annotations

import services.delivery.actors  # noqa: F401  # registers the actors
from services.delivery.reports import inbox
from shared.messages import SendGiftCardSms
from shared.wire import Envelope
from tests.delivery.hooks import Hooks
from tests.kinds import Deliver, Eventually, Issue, JobOf, Row, Setting, Sql
from tests.outside import Outside


def last(sql: Sql) -> Row:
    inbox.sweep()
    (row,) = sql("SELECT state, settled_by, provider_id FROM deliveries")
    return row


def test_a_text_that_arrived_is_known_to_have_arrived(
    hooks: Hooks, outside: Outside, card: Issue, deliver: Deliver, sql: Sql, setting: Setting, eventually: Eventually
) -> None:
    setting(webhook_url=hooks.url)
    outside.callbacks.statuses = ("sent", "delivered")

    deliver(SendGiftCardSms(gift_card_id=card()))

    eventually(lambda: last(sql)["state"] == "delivered")
    assert sql("SELECT FROM provider_events WHERE applied_at IS NULL") == []
    facts = [row["type"] for row in sql("SELECT type FROM events ORDER BY id")]
    assert facts == ["delivery.sent", "delivery.delivered"]


def test_a_text_whose_answer_never_came_is_settled_by_its_callback_and_not_sent_again(
    hooks: Hooks,
    outside: Outside,
    card: Issue,
    deliver: Deliver,
    sql: Sql,
    setting: Setting,
    eventually: Eventually,
    job: JobOf,
) -> None:
    setting(webhook_url=hooks.url, twilio_timeout_s=1, settle_s=3600)
    outside.callbacks.statuses = ("sent",)
    outside.behave("sms", "hang", accept=True)
    envelope = Envelope(SendGiftCardSms(gift_card_id=card()))

    deliver(envelope)
    eventually(lambda: last(sql)["state"] == "sent")
    sql("UPDATE jobs SET run_at = now()")
    deliver(envelope)

    (sms,) = outside.messages("sms")
    assert last(sql) == {"state": "sent", "settled_by": "callback", "provider_id": sms["sid"]}
    assert job(envelope.id)["state"] == "succeeded"


def test_a_text_that_could_not_be_handed_over_goes_as_a_mail(
    hooks: Hooks, outside: Outside, card: Issue, deliver: Deliver, sql: Sql, setting: Setting, eventually: Eventually
) -> None:
    setting(webhook_url=hooks.url)
    outside.callbacks.statuses, outside.callbacks.error_code = ("sent", "undelivered"), 30005

    deliver(SendGiftCardSms(gift_card_id=card()))

    eventually(lambda: inbox.sweep() >= 0 and sql("SELECT FROM deliveries WHERE channel = 'email'"))
    (stopped,) = sql("SELECT channel, reason FROM suppressions")
    assert tuple(stopped.values()) == ("sms", "hard_bounce")
