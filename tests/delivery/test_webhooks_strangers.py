"""Whoever cannot prove who they are changes nothing, whatever they send, and never gets a 500."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.delivery.hooks import ADDRESS, PHONE, Hooks, relay_headers, sealed, sendgrid_headers, sent
from tests.kinds import Issue, Sql

TABLES = ("deliveries", "suppressions", "provider_events", "events", "jobs", "gift_cards")
PATHS = [
    "/twilio/inbound", "/email/ses", "/email/sendgrid", "/email/postmark", "/email/events", "/", "/docs", "/metrics",
    f"/twilio/status/{uuid4()}/token", "/twilio/status/no-uuid/token", "/unsubscribe/token", "/unsubscribe/a.b.c",
]  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND"])
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60).map(str.strip)
NAMES = st.sampled_from(
    ["Content-Type", "X-Twilio-Signature", "X-Webhook-Secret", "Authorization", "X-Signature", "Content-Encoding",
     "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp", "Accept-Language", "Cookie",
     "X-Forwarded-For", "X-Forwarded-Proto", "Expect", "Range", "X-Amz-Sns-Message-Type"]
)  # fmt: skip
KINDS = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
ANSWERS = {200, 400, 403, 404, 405, 408, 413}
FUZZ = settings(max_examples=150, suppress_health_check=list(HealthCheck))


def whole(sql: Sql) -> dict[str, Any]:
    """Give all rows of all that a report could change."""
    return {table: sql(f"SELECT t::text AS row FROM {table} t ORDER BY 1") for table in TABLES}


@pytest.fixture
def unchanged(sql: Sql, card: Issue) -> Callable[[], bool]:
    """Tell whether the tables are as they were, with a gift by mail and one by SMS that a report could be about."""
    sent(sql, card(), "email", provider_id="m1")
    sent(sql, card(), "sms", provider_id="SM1")
    before = whole(sql)
    return lambda: whole(sql) == before


@FUZZ
@given(
    method=METHODS,
    path=st.sampled_from(PATHS) | st.text(max_size=30).map(lambda text: "/" + quote(text)),
    query=PRINTABLE.map(quote),
    headers=st.dictionaries(NAMES, PRINTABLE | st.sampled_from(KINDS), max_size=4),
    body=st.binary(max_size=300),
)
def test_no_request_of_a_stranger_breaks_or_changes_anything(
    hooks: Hooks,
    unchanged: Callable[[], bool],
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
) -> None:
    answer = requests.request(method, f"{hooks.url}{path}?{query}", data=body, headers=headers, timeout=20)

    assert answer.status_code in ANSWERS
    assert unchanged()


REPORTS = {
    "/email/sendgrid": [{"event": "bounce", "email": ADDRESS, "sg_event_id": "1", "sg_message_id": "m1"}],
    "/email/postmark": {"RecordType": "Bounce", "Type": "HardBounce", "Email": ADDRESS, "ID": 1},
    "/email/events": {"events": [{"kind": "hard_bounce", "email": ADDRESS, "id": "1", "at": "2026-11-24T08:00:00Z"}]},
    "/email/ses": {"eventType": "Bounce", "mail": {"messageId": "m1"}, "bounce": {"bounceType": "Permanent"}},
}


def proofs(path: str, body: bytes) -> dict[str, str]:
    """Give the headers that prove a body, where the proof is in headers."""
    match path:
        case "/email/sendgrid":
            return sendgrid_headers(body)
        case "/email/events":
            return relay_headers(body)
        case "/email/postmark":
            return {"Authorization": "Basic " + base64.b64encode(b"postmark:p4ssword").decode()}
    return {}


@FUZZ
@example(path="/email/ses", at=0, flip=0, which=0)
@given(path=st.sampled_from(list(REPORTS)), at=st.integers(0, 10**4), flip=st.integers(1, 127), which=st.integers(0, 3))
def test_a_proof_with_one_letter_changed_proves_nothing(
    hooks: Hooks, unchanged: Callable[[], bool], path: str, at: int, flip: int, which: int
) -> None:
    report = REPORTS[path]
    if path == "/email/ses":
        envelope = sealed(json.dumps(report))
        envelope["Signature"] = _changed(envelope["Signature"], at, flip)
        answer = hooks.post(path, json.dumps(envelope))
    else:
        body = json.dumps(report).encode()
        headers = proofs(path, body)
        name = sorted(headers)[which % len(headers)]
        answer = hooks.post(path, body, headers=headers | {name: _changed(headers[name], at, flip)})

    assert answer.status_code in (400, 403)
    assert unchanged()


def _changed(text: str, at: int, flip: int) -> str:
    """Put another printable letter in a place, in no case one that means the same."""
    at %= max(1, len(text.rstrip("=")) - 1)  # the last letter of base64 has bits that mean nothing
    letter = chr(0x21 + (ord(text[at]) - 0x21 + 1 + flip % 92) % 94)
    return text[:at] + ("~" if letter.lower() == text[at].lower() else letter) + text[at + 1 :]


@FUZZ
@given(
    junk=st.binary(min_size=1, max_size=300), line=st.sampled_from([b"", b"POST /email/events HTTP/1.1\r\n", b"GET "])
)
def test_what_is_no_http_is_not_answered_with_a_500_and_the_next_request_is(
    hooks: Hooks, unchanged: Callable[[], bool], junk: bytes, line: bytes
) -> None:
    place = urlsplit(hooks.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as raw:
        raw.sendall(line + junk + b"\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        said = b""
        while part := raw.recv(4096):
            said += part

    assert b" 500 " not in said.partition(b"\r\n")[0]
    assert hooks.get("/").status_code == 404
    assert unchanged()


def test_the_proofs_that_are_changed_above_prove_something(hooks: Hooks, sql: Sql) -> None:
    for path in ("/email/sendgrid", "/email/events", "/email/postmark"):
        body = json.dumps(REPORTS[path]).encode()
        assert hooks.post(path, body, headers=proofs(path, body)).status_code == 200
    assert hooks.post("/email/ses", json.dumps(sealed(json.dumps(REPORTS["/email/ses"])))).status_code == 200
    assert PHONE not in str(sql("SELECT * FROM provider_events"))
    assert len(sql("SELECT FROM provider_events")) >= 3
