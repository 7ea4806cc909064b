"""E-mail over real SMTP: what arrives, and what is known when it fails in each phase."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from uuid import UUID

import pytest

from services.delivery import email, smtp
from services.delivery.email import compose, message_id
from services.delivery.providers import ErrorClass, ProviderError
from services.delivery.rendering import render
from tests.delivery.samples import CODE, DELIVERY, MAIL_TO, card, refused, send_gift, settings_for
from tests.outside import Outside


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as running:
        yield running
        smtp.close()


def received(outside: Outside) -> EmailMessage:
    message = message_from_string(outside.messages("email")[-1]["raw"], policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


# What is sent


def test_a_gift_arrives_as_text_html_and_an_image_that_the_html_shows(outside: Outside) -> None:
    accepted = send_gift(outside)

    mail = received(outside)
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert CODE in text.get_content()
    assert CODE in html.get_content()
    image = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in html.get_content()
    assert accepted.provider_id == outside.messages("email")[0]["queue_id"]


def test_the_headers_are_those_of_an_automatic_transactional_mail(outside: Outside) -> None:
    send_gift(outside)

    mail = received(outside)
    assert mail["Message-ID"] == f"<{DELIVERY}@example.com>"
    assert mail["From"] == "Gift Cards <gifts@example.com>"
    assert mail["To"] == "Mia <mia@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["List-Unsubscribe"] is None


def test_a_reminder_can_be_unsubscribed_with_one_click_and_does_not_show_the_code(outside: Outside) -> None:
    view = card(days_left=7, unsubscribe_url="https://shop.example.com/u/1")

    mail = compose(view, "expiry_reminder", MAIL_TO, DELIVERY, settings_for(outside))

    assert mail["List-Unsubscribe"] == "<https://shop.example.com/u/1>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    parts = list(message_from_bytes(mail.as_bytes(policy=policy.SMTP), policy=policy.default).walk())
    assert [part.get_content_type() for part in parts] == ["multipart/alternative", "text/plain", "text/html"]
    assert not any(CODE in part.get_content() for part in parts[1:])


def test_every_part_arrives_as_it_was_rendered(outside: Outside) -> None:
    view = card(personal_message=".\n= =3D \t\nFrom me, with ünïcödé 🎁 and a lone \r and " + "length " * 40)

    email.send(
        email.letter(compose(view, "gift_card", MAIL_TO, DELIVERY, settings_for(outside)), MAIL_TO),
        settings_for(outside),
    )

    mail, rendered = received(outside), render("gift_card", view, qr_cid=f"code.{DELIVERY}@example.com")
    parts = list(mail.walk())
    assert [part.defects for part in parts] == [[]] * 5
    text, html, picture = (part.get_content() for part in parts if not part.is_multipart())
    assert picture == rendered.qr_png
    assert [text.replace("\r\n", "\n"), html.replace("\r\n", "\n")] == [rendered.text, rendered.html]


def test_a_resend_has_the_same_message_id_and_another_delivery_another(outside: Outside) -> None:
    settings = settings_for(outside)

    ids = {compose(card(), "gift_card", MAIL_TO, DELIVERY, settings)["Message-ID"] for _ in range(2)}

    assert ids == {message_id(DELIVERY, settings)}
    assert message_id(UUID(int=1), settings) not in ids


@pytest.mark.parametrize(
    "name", ["Mia\r\nBcc: all@example.com", "Mia\nX: y", "a\rb", "a\x00b", "a\u2028b", "=?utf-8?q?x?="]
)
def test_no_name_can_add_a_header(outside: Outside, name: str) -> None:
    view = card(recipient_name=name, sender_name=name)

    raw = compose(view, "gift_card", MAIL_TO, DELIVERY, settings_for(outside)).as_bytes(policy=policy.SMTP)

    head = raw.split(b"\r\n\r\n")[0].decode("ascii")
    fields = [line.partition(":")[0] for line in head.split("\r\n") if line[0] not in " \t"]
    assert sorted(fields) == sorted(
        ["Message-ID", "Date", "From", "To", "Subject", "Auto-Submitted", "MIME-Version", "Content-Type"]
    )


@pytest.mark.parametrize("to", ["mia@example.com\r\nBcc: all@example.com", "mia\n@example.com"])
def test_an_address_with_a_line_break_is_a_content_error(outside: Outside, to: str) -> None:
    with pytest.raises(ProviderError) as raised:
        compose(card(), "gift_card", to, DELIVERY, settings_for(outside))

    assert raised.value.error_class is ErrorClass.CONTENT
    assert "mia" not in str(raised.value)


def test_a_name_in_another_script_arrives_readable(outside: Outside) -> None:
    settings = settings_for(outside)
    message = compose(card(recipient_name='美亜, "M"', sender_name="Zoë 🎁"), "gift_card", MAIL_TO, DELIVERY, settings)

    email.send(email.letter(message, MAIL_TO), settings)

    assert received(outside)["To"].addresses[0].display_name == '美亜, "M"'
    assert received(outside)["Subject"] == "Zoë 🎁 sent you a €25.00 gift card"


def test_a_line_that_begins_with_a_dot_arrives_whole(outside: Outside) -> None:
    settings = settings_for(outside)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, MAIL_TO, "dots"
    message.set_content(".\n..\n.end\n", cte="7bit")

    email.send(email.letter(message, MAIL_TO), settings)

    assert received(outside).get_content().split() == [".", "..", ".end"]


# Which class a failure is, by the phase it happens in


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("do", ["cut", "hang"])
def test_a_line_lost_before_the_final_dot_is_transient_and_nothing_was_sent(
    outside: Outside, phase: str, do: str
) -> None:
    outside.behave("email", do, phase=phase, times=None)

    error = refused(send_gift, outside, smtp_timeout_s=0.3)

    assert error.error_class is ErrorClass.TRANSIENT
    assert error.code == "connection_lost"
    assert outside.messages() == []


@pytest.mark.parametrize("do", ["cut", "hang"])
@pytest.mark.parametrize("accept", [True, False])
def test_no_answer_after_the_final_dot_is_unknown_whatever_the_server_did(
    outside: Outside, do: str, accept: bool
) -> None:
    outside.behave("email", do, accept=accept)

    error = refused(send_gift, outside, final_timeout_s=0.3)

    assert error.error_class is ErrorClass.UNKNOWN
    assert len(outside.messages()) == int(accept)


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
def test_a_refusal_is_read_by_its_code_in_every_phase(outside: Outside, phase: str) -> None:
    outside.behave("email", "refuse", phase=phase, code=451, text="4.3.0 try later")

    error = refused(send_gift, outside)

    assert (error.error_class, error.code, error.excerpt) == (ErrorClass.TRANSIENT, "451 4.3.0", "4.3.0 try later")
    assert outside.messages() == []


def test_a_refusal_after_acceptance_is_what_the_server_says(outside: Outside) -> None:
    outside.behave("email", "refuse", accept=True, code=554, text="5.6.0 no")

    assert refused(send_gift, outside).error_class is ErrorClass.CONTENT


@pytest.mark.parametrize(
    ("local_part", "error_class", "code", "after_s"),
    [
        ("bounce-550", ErrorClass.RECIPIENT, "550 5.1.1", None),
        ("full-452", ErrorClass.TRANSIENT, "452 4.2.2", None),
        ("greylist-450", ErrorClass.TRANSIENT, "450 4.2.0", 300),
    ],
)
def test_a_refused_recipient_is_told_apart_by_code(
    outside: Outside, local_part: str, error_class: ErrorClass, code: str, after_s: float | None
) -> None:
    error = refused(send_gift, outside, f"{local_part}@example.com")

    assert (error.error_class, error.code, error.after_s) == (error_class, code, after_s)


def test_a_greylisted_address_takes_the_second_try(outside: Outside) -> None:
    refused(send_gift, outside, "greylist-450@example.com")

    send_gift(outside, "greylist-450@example.com")

    assert len(outside.messages(to="greylist-450@example.com")) == 1


def test_a_refusal_never_repeats_the_address_or_the_code(outside: Outside) -> None:
    outside.behave(
        "email", "refuse", phase="rcpt", code=550, text=f"5.1.1 <{MAIL_TO}> unknown, your {CODE} +1 415 555 2671"
    )

    error = refused(send_gift, outside)

    assert error.excerpt == "5.1.1 … unknown, your …"
    assert str(error) == "recipient 550 5.1.1: 5.1.1 … unknown, your …"


@pytest.mark.parametrize(("code", "error_class"), [(554, ErrorClass.SENDER), (421, ErrorClass.TRANSIENT)])
def test_a_server_that_does_not_greet_us_blames_nobody_else(
    outside: Outside, code: int, error_class: ErrorClass
) -> None:
    outside.behave("email", "refuse", phase="connect", code=code, text="go away")

    assert refused(send_gift, outside).error_class is error_class


def test_a_server_that_is_not_there_is_transient(outside: Outside) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refuses, and stays ours

        error = refused(send_gift, outside, smtp_port=taken.getsockname()[1])

    assert (error.error_class, error.code) == (ErrorClass.TRANSIENT, "no_connection")


def test_a_letter_is_written_before_it_goes_and_reads_the_same_at_every_relay() -> None:
    message = email.compose(card(personal_message="."), "gift_card", MAIL_TO, DELIVERY, settings_for())

    letter = email.letter(message, MAIL_TO)

    assert (letter.to, letter.sender, letter.utf8) == (MAIL_TO, "gifts@example.com", False)
    assert b"\n" not in letter.body.replace(b"\r\n", b"")
    assert [line for line in letter.body.split(b"\r\n") if line.startswith(b".") and line[1:2] != b"."] == []
    assert MAIL_TO not in repr(letter)


def test_a_message_that_cannot_be_written_out_never_begins_an_attempt() -> None:
    message = email.compose(card(), "gift_card", MAIL_TO, DELIVERY, settings_for())
    message.set_payload("\ud800")  # half a character

    error = refused(email.letter, message, MAIL_TO)

    assert error.error_class is ErrorClass.CONTENT
