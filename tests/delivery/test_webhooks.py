"""The door: who may post, how much, and what is answered; no stranger's word is taken and no address is logged."""

from __future__ import annotations

import json
import socket

import pytest
import requests
from prometheus_client import REGISTRY

from services.delivery import links
from shared import db
from shared.settings import settings
from tests.delivery.hooks import (
    ADDRESS,
    PHONE,
    PUBLIC,
    Hooks,
    delivery,
    sealed,
    sent,
    standing,
    values,
)
from tests.kinds import Issue, Setting, Sql
from tests.outside import Outside
from tests.outside.callbacks import signed

POSTS = ["/twilio/inbound", "/email/ses", "/email/sendgrid", "/email/postmark", "/email/events"]
CANARY = "canary.person@example.com"


def refusals(route: str, reason: str) -> float:
    labels = {"route": route, "reason": reason}
    return REGISTRY.get_sample_value("webhook_requests_refused_total", labels) or 0


@pytest.mark.parametrize("path", POSTS)
def test_a_stranger_is_refused_and_counted(hooks: Hooks, path: str, sql: Sql) -> None:
    before = sum(refusals(path.strip("/"), reason) for reason in ("bad_signature", "bad_credentials", "unknown_topic"))
    body = json.dumps(sealed("x", TopicArn="arn:aws:sns:eu-west-1:666:mine")) if path == "/email/ses" else b"[]"

    answer = hooks.post(path, body, headers={"X-Twilio-Signature": "bm8=", "X-Signature": "t=1,v1=00"})

    after = sum(refusals(path.strip("/"), reason) for reason in ("bad_signature", "bad_credentials", "unknown_topic"))
    assert answer.status_code == 403
    assert after == before + 1
    assert sql("SELECT FROM provider_events") == []


@pytest.mark.parametrize("path", POSTS)
def test_a_door_without_a_key_is_shut(hooks: Hooks, path: str, setting: Setting) -> None:
    setting(twilio_auth_token="", ses_topics="[]", sendgrid_public_key="", postmark_credentials="", relay_events_key="")

    answer = hooks.post(path, json.dumps(sealed("x")))

    assert answer.status_code == 403
    assert refusals(path.strip("/"), "not_configured") > 0


def test_a_body_over_the_cap_is_refused_before_it_is_read(hooks: Hooks) -> None:
    assert hooks.post("/email/postmark", b"x" * (64 * 1024 + 1)).status_code == 413
    assert hooks.post("/email/postmark", iter([b"x" * 40_000, b"x" * 40_000])).status_code == 413
    assert hooks.post("/email/postmark", b"x" * (64 * 1024)).status_code == 403


def test_a_length_that_lies_waits_for_nothing(hooks: Hooks) -> None:
    host, _, port = hooks.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"POST /email/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")

        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_sendgrid_may_post_as_much_as_it_says_it_does(hooks: Hooks) -> None:
    events = [{"event": "open", "sg_event_id": str(n), "pad": "x" * 1000} for n in range(100)]

    assert hooks.sendgrid(events).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/email/mailgun", 404),
        ("POST", "/twilio/status/not-a-uuid/x", 404),
        ("GET", "/email/ses", 405),
        ("PUT", "/unsubscribe/x", 405),
        ("DELETE", "/twilio/inbound", 405),
    ],
)
def test_what_is_not_there_is_not_there(hooks: Hooks, method: str, path: str, status: int) -> None:
    assert requests.request(method, hooks.url + path, timeout=10).status_code == status


def test_while_the_database_is_away_the_provider_is_asked_to_try_again(
    hooks: Hooks, setting: Setting, database: str
) -> None:
    db.close_pool()
    setting(database_url=database.replace("/test_", "/gone_"), **values())

    answer = hooks.postmark({"RecordType": "Delivery", "MessageID": "1", "Recipient": ADDRESS})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    db.close_pool()
    setting(database_url=database)
    assert hooks.postmark({"RecordType": "Delivery", "MessageID": "1", "Recipient": ADDRESS}).status_code == 200


def test_what_is_told_again_is_taken_once(hooks: Hooks, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(), "sms", provider_id="SM1")

    answers = [hooks.status(delivery_id, "delivered").status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    assert len(sql("SELECT FROM provider_events")) == 1
    assert len(sql("SELECT FROM events WHERE type = 'delivery.delivered'")) == 1


def test_what_is_kept_of_a_body_names_nobody(hooks: Hooks, sql: Sql) -> None:
    hooks.text(f"call {PHONE} or {CANARY}, please")
    hooks.sendgrid(
        [{"event": "bounce", "email": CANARY, "reason": f"550 5.1.1 <{CANARY}> {PHONE}", "sg_event_id": "1"}]
    )
    hooks.postmark({"RecordType": "Bounce", "Type": "HardBounce", "Email": CANARY, "Details": f"no {CANARY}", "ID": 7})
    hooks.ses({"eventType": "Delivery", "mail": {"messageId": "m", "destination": [CANARY]}, "delivery": {}})

    kept = str(sql("SELECT * FROM provider_events"))
    assert len(sql("SELECT FROM provider_events")) == 4
    assert CANARY not in kept
    assert PHONE not in kept
    assert "please" not in kept


def test_a_status_callback_goes_all_the_way_from_twilio_behind_a_proxy(
    hooks: Hooks, card: Issue, sql: Sql, outside: Outside, setting: Setting
) -> None:
    setting(webhook_url=hooks.url)
    delivery_id = sent(sql, card(), "sms", "unconfirmed", reason="settling", sending_at="2026-11-24T08:00Z")
    sms = {"sid": "SM" + "1" * 32, "to": PHONE, "status_callback": links.status_url(delivery_id, settings())}

    assert outside.report(sms, "sent") == 200

    row = delivery(sql, delivery_id)
    assert (row["state"], row["provider_id"], row["settled_by"]) == ("sent", sms["sid"], "callback")
    assert row["attempts"][-1]["provider_id"] == sms["sid"]


def test_a_signature_for_another_delivery_does_not_open_this_one(hooks: Hooks, card: Issue, sql: Sql) -> None:
    one, other = sent(sql, card(), "sms"), sent(sql, card(), "sms")
    token = (links.status_url(other, settings()) or "").rpartition("/")[2]
    path = f"/twilio/status/{one}/{token}"
    fields = {"MessageSid": "SM1", "MessageStatus": "delivered"}

    assert hooks.post(path, fields, headers=signed(PUBLIC + path, fields)).status_code == 403
    assert standing(sql, one) == ("sent", None)
