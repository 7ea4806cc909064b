"""The inbox page shows what the stand-ins accepted, and runs nothing of it."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest
import requests

from tests.outside import ACCOUNT_SID, API_KEY, API_SECRET, FROM_NUMBER, Outside

TO = "+14155552671"
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as running:
        yield running


def mail(outside: Outside, to: str = "mia@example.com", subject: str = "hello") -> None:
    with smtplib.SMTP(outside.host, outside.smtp_port, timeout=10) as smtp:
        smtp.sendmail("gifts@example.com", [to], f"Message-ID: <1@example.com>\r\nSubject: {subject}\r\n\r\nhi\r\n")


def get(outside: Outside, path: str) -> requests.Response:
    return requests.get(outside.http_url + path, timeout=10)


def create(outside: Outside, **form: str) -> requests.Response:
    data = {"To": TO, "From": FROM_NUMBER, "Body": "hi"} | form
    return requests.post(f"{outside.http_url}{MESSAGES}.json", data=data, auth=(API_KEY, API_SECRET), timeout=10)


def test_the_inbox_lists_and_shows_what_was_accepted_and_says_what_it_is(outside: Outside) -> None:
    mail(outside, subject="<b>hello</b>")
    create(outside, Body="the text")

    page, one = get(outside, "/").text, get(outside, "/messages/1").text

    assert "mia@example.com" in page
    assert "&lt;b&gt;hello&lt;/b&gt;" in page
    assert "For development only" in page
    assert "the text" in one
    assert get(outside, "/messages/2").status_code == 404
    assert "mia@" not in get(outside, "/?channel=sms").text.partition("</nav>")[2]
    assert "Nothing here fits" in get(outside, "/?q=nobody").text


def test_the_inbox_takes_nothing_from_elsewhere_and_runs_nothing_of_a_mail(outside: Outside) -> None:
    with smtplib.SMTP(outside.host, outside.smtp_port, timeout=10) as smtp:
        raw = "Subject: x\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n"
        smtp.sendmail("a@example.com", ["b@example.com"], raw)

    answer = get(outside, "/messages/0")

    assert "<iframe sandbox " in answer.text
    assert "<script>alert" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.text.replace(outside.http_url, "")


def test_the_journal_can_be_read_as_json(outside: Outside) -> None:
    mail(outside)
    mail(outside, to="leo@example.com")
    create(outside)

    def recipients(query: str) -> list[str]:
        return [entry["to"] for entry in get(outside, f"/messages.json{query}").json()]

    assert recipients("") == ["mia@example.com", "leo@example.com", TO]
    assert recipients("?channel=sms") == [TO]
    assert recipients("?to=leo@example.com") == ["leo@example.com"]
    assert recipients("?after=2") == [TO]
    assert "raw" not in get(outside, "/messages.json").json()[0]
    assert "raw" in get(outside, "/messages.json?raw=1").json()[0]
