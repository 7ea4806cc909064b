"""Every code that providers document has its class, and no provider's words give anything away."""

from __future__ import annotations

import smtplib

import pytest

from services.delivery.providers import (
    SMTP_ENHANCED,
    TWILIO,
    TWILIO_WAIT_S,
    ErrorClass,
    classify_smtp,
    classify_twilio,
    redact,
)
from tests.delivery.samples import CODE, MAIL_TO

SMTP_TABLE = {
    ErrorClass.TRANSIENT: "421; 450 4.2.0; 450 4.7.1; 450; 451 4.3.0; 451; 452 4.2.2; 452 4.3.1; 454; 421 4.4.2; "
    "451 4.4.1; 421 4.7.0; 552 5.2.2; 552 4.2.2; 550 5.2.2; 552",
    ErrorClass.RECIPIENT: "550 5.1.1; 550 5.1.2; 550 5.1.3; 550 5.1.6; 550 5.1.10; 551; 553 5.1.3; 553; 550 5.2.1; "
    "550 5.4.4; 550 5.4.1; 550",
    ErrorClass.SENDER: "550 5.7.1; 554 5.7.1; 550 5.7.26; 550 5.7.25; 530; 530 5.7.0; 535 5.7.8; 535; 538; 534 5.7.9; "
    "553 5.1.8",
    ErrorClass.CONTENT: "552 5.3.4; 554 5.6.0; 554 5.6.7; 550 5.6.7; 500; 501; 502; 503; 504; 501 5.5.4; 554",
}


@pytest.mark.parametrize(
    ("reply", "error_class"), [(reply, found) for found, replies in SMTP_TABLE.items() for reply in replies.split("; ")]
)
def test_every_reply_of_the_table_has_its_class(reply: str, error_class: ErrorClass) -> None:
    code, _, enhanced = reply.partition(" ")

    assert classify_smtp(int(code), enhanced or None) is error_class


@pytest.mark.parametrize("enhanced", SMTP_ENHANCED)
def test_the_temporary_form_of_every_status_is_transient(enhanced: str) -> None:
    assert classify_smtp(450, "4" + enhanced[1:]) is ErrorClass.TRANSIENT


@pytest.mark.parametrize("reply", ["550", "550 5.1.0", "553 5.1.3", "554"])
def test_what_is_refused_before_a_recipient_is_named_is_not_the_recipients_fault(reply: str) -> None:
    code, _, enhanced = reply.partition(" ")

    assert classify_smtp(int(code), enhanced or None, before_rcpt=True) is ErrorClass.SENDER


@pytest.mark.parametrize(
    "private",
    [
        MAIL_TO,
        CODE,
        "7K2M9QXD44TN",
        "7K2M 9QXD 44TN",
        "ABCD-EFGH-JKLM",
        "+14155552671",
        "(415) 555-2671",
        "6034 9312 8847 1120",
        "abcd1234efgh",
        "k7m2q9xd",
        "12345678",
    ],
)
def test_what_could_be_private_is_taken_out_of_a_providers_words(private: str) -> None:
    assert private not in redact(f"550 5.1.1 the {private}: no such user, see rule 4.7.1")
    assert redact(f"550 5.1.1 the {private} is gone, see 4.7.1") == "550 5.1.1 the … is gone, see 4.7.1"


def test_an_excerpt_is_one_short_line() -> None:
    assert redact("a\r\nb\tc") == "a b c"
    assert len(redact("very " * 100)) == 160


def test_the_standard_library_still_hides_the_codes_that_we_read_ourselves() -> None:
    assert not issubclass(smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException)


TWILIO_TABLE = {
    ErrorClass.RECIPIENT: "21211 21401 21614 21612 21610 30004 30005 30006",
    ErrorClass.TRANSIENT: "20503 21611 30001 30003 30008 30017 30022 30020 30021 30500 21730 14107 30036",
    ErrorClass.RATE_LIMITED: "20429 30023 30027 30610 30047",
    ErrorClass.CONTENT: "21602 21617 21618 30007 30019",
    ErrorClass.SENDER: "20003 20005 10001 30002 20404 21212 21603 21606 21607 21608 21408 21701 21703 21704 21705 "
    "30010 30018 30024 30032 30033 30034 30035",
    ErrorClass.UNKNOWN: "20500 30410",
}
TWILIO_ROWS = [(int(code), found) for found, codes in TWILIO_TABLE.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "error_class"), TWILIO_ROWS)
def test_every_code_of_twilios_table_has_its_class(code: int, error_class: ErrorClass) -> None:
    assert classify_twilio(code, 400) is error_class


def test_no_code_is_sorted_that_the_table_does_not_have() -> None:
    assert set(TWILIO) - {code for code, _ in TWILIO_ROWS} == {21604}  # no To at all, which addresses.py prevents


@pytest.mark.parametrize("code", [code for code, found in TWILIO_ROWS if found is ErrorClass.RATE_LIMITED])
def test_what_is_deferred_says_for_how_long(code: int) -> None:
    assert TWILIO_WAIT_S[code] > 0


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, ErrorClass.CONTENT),
        (401, ErrorClass.SENDER),
        (403, ErrorClass.SENDER),
        (404, ErrorClass.SENDER),
        (408, ErrorClass.UNKNOWN),
        (429, ErrorClass.RATE_LIMITED),
        (500, ErrorClass.UNKNOWN),
        (504, ErrorClass.UNKNOWN),
    ],
)
@pytest.mark.parametrize("code", [None, 99999])
def test_an_unknown_code_is_sorted_by_its_http_status(status: int, code: int | None, error_class: ErrorClass) -> None:
    assert classify_twilio(code, status) is error_class
