"""The stand-ins keep their word: what they accept is on disk first, and they misbehave exactly as told."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.outside import ACCOUNT_SID, API_KEY, API_SECRET, FROM_NUMBER, Behaviour, Outside

TO = "+14155552671"
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as running:
        yield running


def mail(outside: Outside, to: str = "mia@example.com", subject: str = "hello") -> None:
    with smtplib.SMTP(outside.host, outside.smtp_port, timeout=10) as smtp:
        smtp.sendmail("gifts@example.com", [to], f"Message-ID: <1@example.com>\r\nSubject: {subject}\r\n\r\nhi\r\n")


def get(outside: Outside, path: str, **how: Any) -> requests.Response:
    return requests.get(outside.http_url + path, timeout=10, **how)


def create(outside: Outside, **form: str) -> requests.Response:
    data = {"To": TO, "From": FROM_NUMBER, "Body": "hi"} | form
    return requests.post(f"{outside.http_url}{MESSAGES}.json", data=data, auth=(API_KEY, API_SECRET), timeout=10)


def test_a_mail_is_in_the_journal_when_its_sender_hears_yes(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with Outside(journal) as outside:
        mail(outside)

        [line] = [json.loads(line) for line in journal.read_text().splitlines()]

    assert (line["channel"], line["to"], line["sender"]) == ("email", "mia@example.com", "gifts@example.com")
    assert (line["subject"], line["message_id"]) == ("hello", "<1@example.com>")
    assert line["raw"].endswith("hi\r\n")


def test_a_swallowed_answer_leaves_the_message_in_the_journal(outside: Outside) -> None:
    outside.behave("email", "cut", accept=True)
    outside.behave("sms", "cut", accept=True)

    with pytest.raises(smtplib.SMTPServerDisconnected):
        mail(outside)
    with pytest.raises(requests.ConnectionError):
        create(outside)

    assert [entry["channel"] for entry in outside.messages()] == ["email", "sms"]


def test_a_lie_is_a_yes_without_a_message(outside: Outside) -> None:
    outside.behave("email", "lie")
    outside.behave("sms", "lie")

    mail(outside)

    assert create(outside).status_code == 201
    assert outside.messages() == []


def test_a_rule_ends_after_its_times_and_leaves_others_alone(outside: Outside) -> None:
    outside.behave("sms", "refuse", code=30001, text="Queue overflow", to=TO, times=2)

    statuses = [create(outside, To=to).status_code for to in ("+16045550123", TO, TO, TO)]

    assert statuses == [201, 400, 400, 201]


def test_a_rule_can_meet_only_each_third_message(outside: Outside) -> None:
    outside.behave("sms", "refuse", every=3, times=None)

    assert [create(outside).status_code for _ in range(6)] == [201, 201, 400, 201, 201, 400]


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": "fax", "do": "cut"},
        {"channel": "sms", "do": "explode"},
        {"channel": "sms", "do": "cut", "phase": "rcpt"},
        {"channel": "email", "do": "cut", "phase": "rcpt", "accept": True},
    ],
)
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no such behaviour|nothing can be accepted|no phases"):
        Behaviour(**wrong)


def test_rules_are_set_read_and_dropped_over_http(outside: Outside) -> None:
    url = outside.http_url + "/behaviour"
    rule: Any = {"channel": "sms", "do": "refuse", "status": 429, "code": 20429, "retry_after_s": 3, "times": None}

    assert requests.post(url, json=rule, timeout=10).status_code == 201
    answer = create(outside)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["code"]) == (429, "3", 20429)
    assert requests.get(url, timeout=10).json()[0]["retry_after_s"] == 3
    requests.delete(url, timeout=10)
    assert create(outside).status_code == 201
    for wrong in ({"channel": "sms"}, {"channel": "sms", "do": "cut", "colour": "red"}):
        assert requests.post(url, json=wrong, timeout=10).status_code == 400


def test_a_created_message_looks_like_twilios(outside: Outside) -> None:
    created = create(outside).json()

    assert created["sid"].startswith("SM")
    assert len(created["sid"]) == 34
    assert (created["status"], created["to"], created["from"], created["body"]) == ("queued", TO, FROM_NUMBER, "hi")
    assert created["date_created"].endswith("+0000")
    assert created["uri"] == f"{MESSAGES}/{created['sid']}.json"
    fetched = get(outside, created["uri"], auth=(API_KEY, API_SECRET)).json()
    assert (fetched["sid"], fetched["status"]) == (created["sid"], "delivered")


def test_messages_are_listed_newest_first_page_by_page(outside: Outside) -> None:
    for body in ("one", "two", "three"):
        create(outside, Body=body)
    create(outside, To="+16045550123")

    bodies, path = [], f"{MESSAGES}.json?To=%2B14155552671&PageSize=2&DateSent%3E=2020-01-01"
    while path:
        page = get(outside, path, auth=(API_KEY, API_SECRET)).json()
        bodies.append([message["body"] for message in page["messages"]])
        path = page["next_page_uri"]

    assert bodies == [["three", "two"], ["one"]]


@pytest.mark.parametrize(
    ("path", "auth", "status", "code"),
    [
        (f"{MESSAGES}.json", ("", ""), 401, 20003),
        (f"{MESSAGES}.json", (API_KEY, "wrong"), 401, 20003),
        (f"{MESSAGES.replace(ACCOUNT_SID, 'ACother')}.json", (API_KEY, API_SECRET), 401, 20003),
        (f"{MESSAGES}/SM{'0' * 32}.json", (API_KEY, API_SECRET), 404, 20404),
        ("/2010-04-01/Nothing.json", (API_KEY, API_SECRET), 404, 20404),
    ],
)
def test_errors_have_twilios_form(outside: Outside, path: str, auth: tuple[str, str], status: int, code: int) -> None:
    answer = get(outside, path, auth=auth)

    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message", "more_info", "status"}
    assert (answer.json()["code"], answer.json()["status"]) == (code, status)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "hello"}, 21211),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"Body": "a" * 1601}, 21617),
        ({"From": "+15005550008"}, 21611),
    ],
)
def test_a_bad_request_is_refused_as_twilio_does(outside: Outside, form: dict[str, str], code: int) -> None:
    answer = create(outside, **form)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert outside.messages() == []


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_it_is_healthy(outside: Outside, path: str) -> None:
    assert get(outside, path).status_code == 200


def test_a_taken_port_is_told_at_once(outside: Outside) -> None:
    with pytest.raises(OSError, match="in use"):
        Outside(http_port=outside.http_port).start()


def test_what_hangs_does_not_keep_it_from_stopping() -> None:
    with Outside() as outside:
        outside.behave("email", "hang", accept=True)
        smtp = smtplib.SMTP(outside.host, outside.smtp_port, timeout=10)
        for command in ("EHLO me", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"):
            smtp.docmd(command)
        smtp.send("Subject: x\r\n\r\n.\r\n")

    with pytest.raises(smtplib.SMTPServerDisconnected):
        smtp.getreply()


def test_a_journal_is_continued_after_a_kill_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with Outside(journal) as outside:
        mail(outside)
    with journal.open("a") as torn:
        torn.write('{"n": 1, "chan')

    with Outside(journal) as outside:
        mail(outside, to="leo@example.com")
        assert [(entry["n"], entry["to"]) for entry in outside.messages()] == [
            (0, "mia@example.com"),
            (1, "leo@example.com"),
        ]

    assert len([json.loads(line) for line in journal.read_text().splitlines()]) == 2


def test_as_a_process_it_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.outside", "serve", "--journal", str(tmp_path / "new" / "journal.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert requests.get(f"{told['inbox']}/readyz", timeout=10).status_code == 200
            with smtplib.SMTP("127.0.0.1", told["smtp_port"], timeout=10) as smtp:
                assert smtp.noop()[0] == 250
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
