"""Twilio: what became of an SMS, and what people text back."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from starlette.datastructures import Headers

from services.delivery import links
from services.delivery.reports.incoming import Incoming
from services.delivery.reports.report import Kind
from services.delivery.reports.twilio import inbound
from shared.settings import settings
from tests.delivery.hooks import PUBLIC, Hooks, delivery, sent, standing, suppressed
from tests.delivery.samples import settings_for
from tests.kinds import Issue, Setting, Sql
from tests.outside import AUTH_TOKEN, FROM_NUMBER, MESSAGING_SERVICE_SID
from tests.outside.callbacks import signed

STOPPED = [("sms", f"from:{FROM_NUMBER}", "stop")]


@pytest.mark.parametrize(
    ("status", "code", "state", "stopped"),
    [
        ("queued", None, "sent", []),
        ("sending", None, "sent", []),
        ("sent", None, "sent", []),
        ("delivered", None, "delivered", []),
        ("read", None, "delivered", []),
        ("undelivered", 30003, "failed", []),
        ("undelivered", 30005, "failed", [("sms", "all", "hard_bounce")]),
        ("failed", 30006, "failed", [("sms", "all", "hard_bounce")]),
        ("undelivered", 30007, "failed", []),
        ("failed", 21610, "failed", STOPPED),
        ("failed", 21612, "failed", []),
        ("canceled", None, "failed", []),
        ("a-status-of-next-year", None, "sent", []),
    ],
)
def test_twilio_tells_what_became_of_a_text(
    hooks: Hooks, card: Issue, sql: Sql, status: str, code: int | None, state: str, stopped: list[object]
) -> None:
    delivery_id = sent(sql, card(), "sms", provider_id="SM1")

    assert hooks.status(delivery_id, status, code=code).status_code == 200

    assert standing(sql, delivery_id)[0] == state
    assert suppressed(sql) == stopped


@pytest.mark.parametrize(("status", "state"), [("sent", "sent"), ("delivered", "delivered"), ("undelivered", "failed")])
@pytest.mark.parametrize("before", ["sending", "unconfirmed"])
def test_a_callback_settles_what_nobody_knew(
    hooks: Hooks, card: Issue, sql: Sql, before: str, status: str, state: str
) -> None:
    delivery_id = sent(sql, card(recipient_email=None), "sms", before)

    hooks.status(delivery_id, status)

    row = delivery(sql, delivery_id)
    assert (row["state"], row["provider_id"], row["settled_by"]) == (state, "SM1", "callback")
    assert row["attempts"][-1]["provider_id"] == "SM1"
    facts = [event["type"] for event in sql("SELECT type FROM events ORDER BY id")]
    assert facts[0] == "delivery.sent"


def test_of_two_texts_for_one_delivery_one_that_arrived_is_enough(hooks: Hooks, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(), "sms", provider_id="SM2")

    hooks.status(delivery_id, "undelivered", "SM1", 30003)
    still = standing(sql, delivery_id)[0]
    hooks.status(delivery_id, "delivered", "SM1")

    assert (still, standing(sql, delivery_id)[0]) == ("sent", "delivered")


def test_a_sid_that_another_delivery_has_is_not_taken_from_it(hooks: Hooks, card: Issue, sql: Sql) -> None:
    sent(sql, card(), "sms", provider_id="SM1")
    other = sent(sql, card(), "sms", "sending")

    assert hooks.status(other, "delivered").status_code == 200
    assert (delivery(sql, other)["state"], delivery(sql, other)["provider_id"]) == ("delivered", None)


def test_a_status_without_a_message_is_malformed(hooks: Hooks, card: Issue, sql: Sql) -> None:
    path = (links.status_url(sent(sql, card(), "sms"), settings()) or "").removeprefix(PUBLIC)

    assert hooks.twilio(path, {"MessageStatus": "sent"}).status_code == 400


@pytest.mark.parametrize("keys", [("new", "old"), ("old",)])
def test_a_link_outlives_the_change_of_its_key(keys: tuple[str, ...], setting: Setting) -> None:
    delivery_id = uuid4()
    setting(webhook_url=PUBLIC, webhook_keys='["old"]')
    token = (links.status_url(delivery_id, settings()) or "").rpartition("/")[2]
    unsubscribe = (links.unsubscribe_url(delivery_id, "ada@example.com", settings()) or "").rpartition("/")[2]

    setting(webhook_keys=json.dumps(keys))

    assert links.is_status_token(delivery_id, token, settings())
    assert links.reader(unsubscribe, settings())
    setting(webhook_keys='["new"]')
    assert not links.is_status_token(delivery_id, token, settings())
    assert links.reader(unsubscribe, settings()) is None


def test_without_a_public_address_no_link_is_made(database: str) -> None:
    assert links.status_url(UUID(int=1), settings()) is None
    assert links.unsubscribe_url(UUID(int=1), "ada@example.com", settings()) is None


STOPS = ["STOP", "stop", " Stop. ", "STOPALL", "unsubscribe", "CANCEL", "End", "quit", "OPTOUT", "revoke", "Stopp",
         "ARRÊT", "arret", "BAJA", "停止", "ＳＴＯＰ"]  # fmt: skip
OTHERS = ["please stop by", "stopping", "", "thanks!", "STOP it", "\0"]


def meant(body: str) -> Kind:
    fields = {"MessageSid": "SM1", "From": "+14155550123", "To": FROM_NUMBER, "Body": body}
    headers = Headers(signed(f"{PUBLIC}/twilio/inbound", fields))
    known = settings_for(webhook_url=PUBLIC, twilio_auth_token=AUTH_TOKEN)
    [report] = inbound(Incoming("/twilio/inbound", urlencode(fields).encode(), headers, settings=known))
    return report.kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (STOPS, Kind.STOP),
        (["START", "yes", "UNSTOP", "start!"], Kind.START),
        (["HELP", "info"], Kind.HELP),
        (OTHERS, Kind.NOTHING),
    ],
)
def test_a_word_is_known_however_it_is_written_and_a_sentence_is_none(words: list[str], kind: Kind) -> None:
    assert {word: meant(word) for word in words} == dict.fromkeys(words, kind)


def test_stop_binds_the_sender_it_was_said_to(hooks: Hooks, sql: Sql) -> None:
    answer = hooks.text("STOP")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    assert answer.text.endswith("<Response/>")
    assert suppressed(sql) == STOPPED


def test_other_words_stop_nothing(hooks: Hooks, sql: Sql) -> None:
    answers = [hooks.text(body).status_code for body in ("please stop by", "HELP")]

    assert answers == [200, 200]
    assert suppressed(sql) == []


def test_start_ends_a_stop_of_the_same_sender(hooks: Hooks, sql: Sql) -> None:
    hooks.text("STOP")
    hooks.text("START", To="+15005550099")
    elsewhere = suppressed(sql)

    hooks.text("START")

    assert (elsewhere, suppressed(sql)) == (STOPPED, [])
    assert len(sql("SELECT FROM suppressions WHERE lifted_at IS NOT NULL")) == 1


def test_a_stop_to_a_messaging_service_binds_the_service_and_the_number(hooks: Hooks, sql: Sql) -> None:
    hooks.text("STOP", MessagingServiceSid=MESSAGING_SERVICE_SID)

    assert [scope for _, scope, _ in suppressed(sql)] == [f"from:{FROM_NUMBER}", f"from:{MESSAGING_SERVICE_SID}"]


def test_twilios_own_word_for_what_was_wanted_counts_more_than_the_text(hooks: Hooks, sql: Sql) -> None:
    hooks.text("Abbestellen bitte", OptOutType="STOP")

    assert suppressed(sql) == STOPPED


def test_a_stop_that_comes_twice_does_not_undo_a_later_start(hooks: Hooks, sql: Sql) -> None:
    for sid, body in (("SM1", "STOP"), ("SM2", "START"), ("SM1", "STOP")):
        hooks.text(body, sid)

    assert suppressed(sql) == []


def test_a_forged_text_stops_nobody(hooks: Hooks, sql: Sql) -> None:
    fields = {"MessageSid": "SM1", "From": "+14155550123", "To": FROM_NUMBER, "Body": "STOP"}
    headers = signed(f"{PUBLIC}/twilio/inbound", fields)

    assert hooks.post("/twilio/inbound", fields | {"From": "+14155550124"}, headers=headers).status_code == 403
    assert suppressed(sql) == []
