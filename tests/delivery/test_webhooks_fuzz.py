"""Whatever comes, even from a provider that lost its mind: no answer is a 500, and no address is logged."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as strategy_settings
from hypothesis import strategies as st

from services.delivery import links
from shared.settings import settings
from tests.delivery.hooks import ADDRESS, PHONE, PUBLIC, Hooks, relay_headers

CANARY = "canary.person@example.com"

_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["Type", "RecordType", "Email", "MessageID", "event", "email", "timestamp", "sg_event_id", "eventType", "mail",
     "bounce", "messageId", "bouncedRecipients", "kind", "message_id", "at", "events", "BouncedAt", "Metadata", "ID"]
)  # fmt: skip
_WORDS = st.sampled_from(
    ["Bounce", "Delivery", "HardBounce", "bounce", "delivered", "hard_bounce", "Permanent", CANARY]
)
_OBJECTS = st.dictionaries(_FIELDS, _WORDS | _JUNK, max_size=6)
_BODIES = st.binary(max_size=300) | (_OBJECTS | st.lists(_OBJECTS, max_size=3) | _JUNK).map(
    lambda value: json.dumps(value).encode()
)
_FUZZ = strategy_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    with caplog.at_level(logging.DEBUG):
        yield lambda: caplog.text + "".join(capfd.readouterr())


@_FUZZ
@given(body=_BODIES)
def test_no_body_of_a_mail_provider_breaks_anything(hooks: Hooks, body: bytes, logged: Callable[[], str]) -> None:
    text = body.decode("utf-8", "replace")
    answers = [
        hooks.sendgrid(body),
        hooks.postmark(body),
        hooks.post("/email/events", body, headers=relay_headers(body)),
        hooks.ses(text),
        hooks.post("/email/ses", body),
    ]

    assert {answer.status_code for answer in answers} <= {200, 400, 403}
    assert CANARY not in logged() + "".join(answer.text for answer in answers)


@_FUZZ
@given(
    fields=st.dictionaries(
        st.sampled_from(["MessageSid", "MessageStatus", "ErrorCode", "To", "From", "Body"]), st.text()
    )
)
def test_no_form_of_twilio_breaks_anything(hooks: Hooks, fields: dict[str, str], logged: Callable[[], str]) -> None:
    fields = {name: value.encode("utf-8", "replace").decode() for name, value in fields.items()}
    path = (links.status_url(UUID(int=7), settings()) or "").removeprefix(PUBLIC)
    answers = [hooks.twilio("/twilio/inbound", fields), hooks.twilio(path, fields)]

    assert {answer.status_code for answer in answers} <= {200, 400}
    assert PHONE not in logged()


@_FUZZ
@given(token=st.text(max_size=80), body=st.binary(max_size=200), kind=st.sampled_from(["form", "multipart", "junk"]))
def test_no_token_and_no_form_breaks_the_page(hooks: Hooks, token: str, body: bytes, kind: str) -> None:
    kinds = {"form": "application/x-www-form-urlencoded", "multipart": "multipart/form-data; boundary=x", "junk": kind}
    headers = {"Content-Type": kinds[kind], "Accept-Language": token.encode("latin-1", "replace").decode("latin-1")[:9]}
    headers = {name: re.sub(r"[^\x21-\x7e ]", "", value).strip() for name, value in headers.items()}
    good = (links.unsubscribe_url(uuid4(), ADDRESS, settings()) or "").removeprefix(PUBLIC)
    wrong = "/unsubscribe/" + quote(token, safe="")

    answers = [hooks.get(wrong), hooks.post(wrong, body, headers=headers), hooks.post(good, body, headers=headers)]

    assert {answer.status_code for answer in answers} <= {200, 400, 403, 404, 405}
