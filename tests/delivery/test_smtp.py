"""The connection to the relay: reused, renewed, encrypted, and refused where it should be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email import message_from_string, policy
from threading import Thread
from typing import Any

import pytest

from services.delivery import email, smtp
from services.delivery.providers import ErrorClass
from tests.delivery.samples import refused, send_gift, settings_for
from tests.outside import Outside


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as running:
        yield running
        smtp.close()


@contextmanager
def secured(security: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Iterator[Outside]:
    with Outside(smtp_security=security, **fields) as outside:
        monkeypatch.setenv("SSL_CERT_FILE", str(outside.ca_file))
        yield outside
        smtp.close()


# The connection


def test_many_mails_of_one_thread_use_one_connection(outside: Outside) -> None:
    for _ in range(5):
        send_gift(outside)

    assert outside.mailbox.connections == 1
    assert len(outside.messages()) == 5


def test_each_thread_has_its_own_connection(outside: Outside) -> None:
    def work() -> None:
        send_gift(outside)
        smtp.close()

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outside.mailbox.connections == 3
    assert len(outside.messages()) == 3


def test_a_connection_that_died_in_between_is_renewed_in_silence(outside: Outside) -> None:
    send_gift(outside)
    outside.drop_connections()

    send_gift(outside)

    assert outside.mailbox.connections == 2
    assert len(outside.messages()) == 2


def test_a_server_that_says_goodbye_to_an_old_connection_gets_a_new_one(outside: Outside) -> None:
    send_gift(outside)
    outside.behave("email", "refuse", phase="mail", code=421, text="4.4.2 idle too long")

    send_gift(outside)

    assert outside.mailbox.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_trusted(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "IDLE_S", 0)
    send_gift(outside)

    send_gift(outside)

    assert outside.mailbox.connections == 2


def test_a_refused_recipient_leaves_the_connection_in_use(outside: Outside) -> None:
    refused(send_gift, outside, "bounce-550@example.com")

    send_gift(outside)

    assert outside.mailbox.connections == 1


def test_after_an_unknown_outcome_the_connection_is_not_used_again(outside: Outside) -> None:
    outside.behave("email", "hang", accept=True)
    refused(send_gift, outside, final_timeout_s=0.3)

    send_gift(outside)

    assert outside.mailbox.connections == 2


# Security


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_out_encrypted_and_authenticated(monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    with secured(security, monkeypatch, login=("shop", "hunter2")) as outside:
        send_gift(outside, smtp_user="shop", smtp_password="hunter2")

        assert len(outside.messages()) == 1


@pytest.mark.parametrize("fields", [{}, {"smtp_user": "shop", "smtp_password": "wrong"}])
def test_missing_or_wrong_credentials_are_the_senders_fault(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]
) -> None:
    with secured("starttls", monkeypatch, login=("shop", "hunter2")) as outside:
        error = refused(send_gift, outside, **fields)

    assert error.error_class is ErrorClass.SENDER
    assert error.code in ("530 5.7.0", "535 5.7.8")


def test_a_server_without_starttls_gets_no_mail_when_it_is_required(outside: Outside) -> None:
    error = refused(send_gift, outside, smtp_security="starttls")

    assert (error.error_class, error.code) == (ErrorClass.SENDER, "security")
    assert outside.messages() == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_gets_no_mail(security: str) -> None:
    with Outside(smtp_security=security) as outside:
        error = refused(send_gift, outside)

        assert outside.messages() == []
    assert (error.error_class, error.code) == (ErrorClass.SENDER, "security")


# Addresses beyond ASCII


def test_an_address_beyond_ascii_arrives_where_the_relay_takes_it(outside: Outside) -> None:
    send_gift(outside, "josé@example.com")

    assert outside.messages()[0]["to"] == "josé@example.com"
    assert "SMTPUTF8" in outside.messages()[0]["options"]
    mail = message_from_string(outside.messages()[0]["raw"], policy=policy.default)
    assert mail["To"].addresses[0].username == "josé"


def test_an_address_beyond_ascii_needs_another_channel_where_the_relay_does_not() -> None:
    with Outside(utf8=False) as outside:
        error = refused(send_gift, outside, "josé@example.com")

    assert (error.error_class, error.code) == (ErrorClass.RECIPIENT, "no_smtputf8")


# Commands in one packet (RFC 2920)


@pytest.mark.parametrize("pipelining", [True, False], ids=["offered", "not offered"])
def test_mails_and_refusals_take_turns_on_one_connection(pipelining: bool) -> None:
    with Outside(pipelining=pipelining) as outside:
        send_gift(outside)
        error = refused(send_gift, outside, "bounce-550@example.com")
        send_gift(outside)
        smtp.close()

        assert (error.error_class, error.code) == (ErrorClass.RECIPIENT, "550 5.1.1")
        assert [mail["to"] for mail in outside.messages()] == ["mia@example.com", "mia@example.com"]
        assert outside.mailbox.connections == 1


def test_a_relay_that_wants_text_for_a_refused_recipient_gets_none() -> None:
    said = [b"220 hi\r\n", b"250-hi\r\n250 PIPELINING\r\n", b"250 ok\r\n550 5.1.1 nobody\r\n354 go on\r\n"]
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        heard: list[bytes] = []
        relay = Thread(target=recite, args=(listener, said, heard))
        relay.start()

        settings = settings_for(smtp_host="127.0.0.1", smtp_port=listener.getsockname()[1], smtp_security="none")
        letter = email.Letter("shop@example.com", "mia@example.com", b"hello\r\n", utf8=False)
        error = refused(email.send, letter, settings)
        relay.join()

    assert (error.error_class, error.code) == (ErrorClass.RECIPIENT, "550 5.1.1")
    assert heard[-1] == b"", "the line ends after DATA: no text, no final dot"


def recite(listener: socket.socket, said: list[bytes], heard: list[bytes]) -> None:
    line, _ = listener.accept()
    with line:
        line.settimeout(10)
        for words in said:
            line.sendall(words)
            heard.append(line.recv(4096))
