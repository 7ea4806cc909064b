"""SMS through Twilio: what is known after asking it to send, and how to ask again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.delivery import sms
from services.delivery.providers import ErrorClass
from tests.delivery.samples import CODE, SMS_TO, refused, settings_for
from tests.outside import FROM_NUMBER, MESSAGING_SERVICE_SID, Outside

BODY = f"Leo sent you a gift card. Code: {CODE}"


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as running:
        yield running
        sms.close()


def test_a_text_is_accepted_by_twilio_from_our_number(outside: Outside) -> None:
    accepted = sms.send(BODY, SMS_TO, settings_for(outside), status_callback="https://hooks.example.com/d/1")

    [message] = outside.messages("sms")
    assert accepted.provider_id == message["sid"]
    assert (message["to"], message["sender"], message["body"]) == (SMS_TO, FROM_NUMBER, BODY)
    assert message["status_callback"] == "https://hooks.example.com/d/1"
    assert CODE not in repr(accepted)


def test_a_messaging_service_takes_the_place_of_a_number(outside: Outside) -> None:
    sms.send(BODY, SMS_TO, settings_for(outside, twilio_from=MESSAGING_SERVICE_SID))

    [message] = outside.messages("sms")
    assert (message["sender"], message["messaging_service_sid"]) == (None, MESSAGING_SERVICE_SID)


@pytest.mark.parametrize(
    ("to", "code", "error_class"),
    [
        ("+15005550001", "21211", ErrorClass.RECIPIENT),
        ("+15005550002", "21612", ErrorClass.RECIPIENT),
        ("+15005550003", "21408", ErrorClass.SENDER),
        ("+15005550004", "21610", ErrorClass.RECIPIENT),
        ("+15005550009", "21614", ErrorClass.RECIPIENT),
    ],
)
def test_twilios_test_numbers_are_refused_with_their_codes(
    outside: Outside, to: str, code: str, error_class: ErrorClass
) -> None:
    error = refused(lambda: sms.send(BODY, to, settings_for(outside)))

    assert (error.error_class, error.code) == (error_class, code)
    assert to not in str(error)
    assert outside.messages() == []


@pytest.mark.parametrize(("sender", "code"), [("+15005550001", "21212"), ("+15005550007", "21606")])
def test_a_wrong_from_number_is_the_senders_fault(outside: Outside, sender: str, code: str) -> None:
    error = refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside, twilio_from=sender)))

    assert (error.error_class, error.code) == (ErrorClass.SENDER, code)


def test_an_empty_or_endless_text_is_a_content_error(outside: Outside) -> None:
    assert refused(lambda: sms.send("", SMS_TO, settings_for(outside))).code == "21602"
    assert refused(lambda: sms.send("a" * 1601, SMS_TO, settings_for(outside))).code == "21617"


@pytest.mark.parametrize(
    "fields", [{"twilio_api_secret": "wrong"}, {"twilio_api_key": "SKwrong"}, {"twilio_account_sid": "ACother"}]
)
def test_wrong_credentials_are_the_senders_fault(outside: Outside, fields: dict[str, str]) -> None:
    error = refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside, **fields)))

    assert (error.error_class, error.code) == (ErrorClass.SENDER, "20003")


@pytest.mark.parametrize("field", ["twilio_account_sid", "twilio_api_key", "twilio_api_secret", "twilio_from"])
def test_a_missing_setting_is_the_senders_fault_and_is_named(outside: Outside, field: str) -> None:
    error = refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside, **{field: None})))

    assert (error.error_class, error.code) == (ErrorClass.SENDER, "not_configured")
    assert field.upper() in str(error)


@pytest.mark.parametrize("do", ["cut", "hang"])
@pytest.mark.parametrize("accept", [True, False])
def test_no_answer_is_unknown_whatever_twilio_did(outside: Outside, do: str, accept: bool) -> None:
    outside.behave("sms", do, accept=accept)

    error = refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside, twilio_timeout_s=0.3)))

    assert (error.error_class, error.code) == (ErrorClass.UNKNOWN, "no_reply")
    assert len(outside.messages()) == int(accept)


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize(("status", "code"), [(500, 20500), (502, 0), (503, 0), (504, 0)])
def test_a_server_error_is_unknown(outside: Outside, status: int, code: int, accept: bool) -> None:
    outside.behave("sms", "refuse", status=status, code=code, text="Internal Server Error", accept=accept)

    assert refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside))).error_class is ErrorClass.UNKNOWN


def test_a_twilio_that_cannot_be_reached_is_transient_since_nothing_was_sent(outside: Outside) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refuses, and stays ours
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        error = refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside, twilio_base_url=url)))

    assert (error.error_class, error.code) == (ErrorClass.TRANSIENT, "no_connection")


@pytest.mark.parametrize(("retry_after_s", "after_s"), [(7, 7), (0, 0), (None, 30)])
def test_too_many_requests_waits_as_long_as_twilio_says(
    outside: Outside, retry_after_s: int | None, after_s: float
) -> None:
    outside.behave("sms", "refuse", status=429, code=20429, text="Too many requests", retry_after_s=retry_after_s)

    error = refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside)))

    assert (error.error_class, error.after_s) == (ErrorClass.RATE_LIMITED, after_s)
    assert sms.send(BODY, SMS_TO, settings_for(outside)).provider_id


def test_retry_after_may_be_a_date() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)

    after_s = sms._after_s(ErrorClass.RATE_LIMITED, 20429, {"Retry-After": at})

    assert after_s is not None
    assert 3500 < after_s <= 3600
    assert sms._after_s(ErrorClass.RATE_LIMITED, 20429, {"Retry-After": "soon"}) == 30


def test_an_error_in_the_newer_form_is_read_too(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {"type": "about:blank", "title": "Too many requests", "status": 429, "code": 20429}
    monkeypatch.setattr("tests.outside.twilio._error_body", lambda *_: problem)
    outside.behave("sms", "refuse", status=429, code=20429)

    assert refused(lambda: sms.send(BODY, SMS_TO, settings_for(outside))).error_class is ErrorClass.RATE_LIMITED


def test_nothing_of_a_text_is_logged(outside: Outside, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    sms.send(BODY, SMS_TO, settings_for(outside))
    sms.find(SMS_TO, BODY, datetime.now(UTC), settings_for(outside))

    assert CODE not in caplog.text
    assert SMS_TO not in caplog.text


# Asking


def test_a_text_whose_answer_was_lost_is_found_again(outside: Outside) -> None:
    settings, since = settings_for(outside), datetime.now(UTC)
    outside.behave("sms", "cut", accept=True)
    refused(lambda: sms.send(BODY, SMS_TO, settings))

    assert sms.find(SMS_TO, BODY, since, settings) == outside.messages("sms")[0]["sid"]


def test_a_text_is_found_by_the_code_it_carries(outside: Outside) -> None:
    sid = sms.send(BODY, SMS_TO, settings_for(outside)).provider_id

    assert sms.find(SMS_TO, CODE, datetime.now(UTC), settings_for(outside)) == sid


def test_a_text_that_never_arrived_is_not_found(outside: Outside) -> None:
    settings, since = settings_for(outside), datetime.now(UTC)
    outside.behave("sms", "cut")
    refused(lambda: sms.send(BODY, SMS_TO, settings))
    sms.send("another text", SMS_TO, settings)
    sms.send(BODY, "+16045550123", settings)

    assert sms.find(SMS_TO, BODY, since, settings) is None


def test_the_same_text_of_an_earlier_delivery_is_not_taken_for_this_one(outside: Outside) -> None:
    sms.send(BODY, SMS_TO, settings_for(outside))

    assert sms.find(SMS_TO, BODY, datetime.now(UTC) + timedelta(hours=1), settings_for(outside)) is None


def test_a_trial_accounts_prefix_does_not_hide_a_text(outside: Outside) -> None:
    sms.send(f"Sent from your Twilio trial account - {BODY}", SMS_TO, settings_for(outside))

    assert sms.find(SMS_TO, BODY, datetime.now(UTC), settings_for(outside))


def test_a_text_is_found_behind_many_others(outside: Outside) -> None:
    settings, since = settings_for(outside), datetime.now(UTC)
    for body in (BODY, *(f"text {n}" for n in range(60))):
        outside.journal.accept("sms", sid=f"SM{len(body):032x}", to=SMS_TO, sender=FROM_NUMBER, subject=body, body=body)

    assert sms.find(SMS_TO, BODY, since, settings)


def test_an_ask_that_fails_is_no_new_unknown(outside: Outside) -> None:
    url = "http://127.0.0.1:1"

    error = refused(lambda: sms.find(SMS_TO, BODY, datetime.now(UTC), settings_for(outside, twilio_base_url=url)))

    assert error.error_class is ErrorClass.TRANSIENT
