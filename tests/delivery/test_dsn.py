"""Mails that say that a mail did not arrive: what they mean, and what a forged one cannot do."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.delivery import dsn
from services.delivery.reports.report import Kind
from shared import db
from shared.messages import hint
from tests.delivery.hooks import ADDRESS, sent, standing, suppressed
from tests.kinds import Issue, Setting, Sql

ID = UUID("0191d1d0-0000-7000-8000-000000000001")
RECIPIENT = f"Original-Recipient: rfc822;{ADDRESS}\nFinal-Recipient: rfc822; forwarded@example.net\n"


def mail(
    recipient: str = f"{RECIPIENT}Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n",
    delivery: UUID = ID,
    returned: str = "text/rfc822-headers",
) -> bytes:
    """Write a DSN as Postfix does (RFC 3464, appendix E)."""
    return f"""\
From: MAILER-DAEMON@mail.example.org (Mail Delivery System)
To: bounces@example.com
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--B
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org
X-Postfix-Queue-ID: 4T1gZ
Arrival-Date: Tue, 24 Nov 2026 09:00:00 +0100 (CET)

{recipient}
--B
Content-Description: Undelivered Message
Content-Type: {returned}

Message-ID: <{delivery}@example.com>
From: Gift Cards <gifts@example.com>
To: {ADDRESS}
Subject: A gift

--B--
""".encode()


def fields(action: str, status: str, more: str = "") -> str:
    return f"{RECIPIENT}Action: {action}\nStatus: {status}\n{more}"


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (fields("failed", "5.1.1"), Kind.HARD_BOUNCE, "5.1.1"),
        (fields("failed", "5.0.0"), Kind.HARD_BOUNCE, "5.0.0"),
        (fields("failed", "5.0.0", "Diagnostic-Code: smtp; 552 5.2.2 full\n"), Kind.SOFT_BOUNCE, "5.2.2"),
        (fields("failed", "5.2.2"), Kind.SOFT_BOUNCE, "5.2.2"),
        (fields("failed", "4.4.7"), Kind.SOFT_BOUNCE, "4.4.7"),
        (fields("failed", "5.7.1"), Kind.FAILED, "5.7.1"),
        (fields("Failed", "5.1.1 (bad destination mailbox)"), Kind.HARD_BOUNCE, "5.1.1"),
        (fields("delayed", "4.4.1", "Last-Attempt-Date: Tue, 24 Nov 2026 09:00:00 +0100\n"), Kind.DEFERRED, "4.4.1"),
        (fields("delivered", "2.0.0"), Kind.DELIVERED, "2.0.0"),
        (fields("relayed", "2.0.0"), Kind.ACCEPTED, "2.0.0"),
        (fields("expanded", "2.0.0"), Kind.DELIVERED, "2.0.0"),
        (fields("evaporated", "9.9.9"), Kind.NOTHING, None),
    ],
)
def test_each_action_and_status_has_a_meaning(said: str, kind: Kind, code: str | None) -> None:
    [report] = dsn.reports(mail(said))

    assert (report.kind, report.code, report.delivery_id) == (kind, code, ID)
    assert report.address == hint(ADDRESS)
    assert ADDRESS not in str(report)


@pytest.mark.parametrize("returned", ["text/rfc822-headers", "message/rfc822", "message/global-headers"])
@pytest.mark.parametrize("line_ends", [b"\n", b"\r\n"])
def test_the_returned_mail_is_known_in_whole_and_by_its_headers(returned: str, line_ends: bytes) -> None:
    [report] = dsn.reports(mail(returned=returned).replace(b"\n", line_ends))

    assert report.delivery_id == ID


@pytest.mark.parametrize("kind", [b"message/global-delivery-status", b"message/delivery-status"])
@pytest.mark.parametrize("encoding", [b"", b"Content-Transfer-Encoding: 8bit\n"])
def test_the_international_form_is_read_too(kind: bytes, encoding: bytes) -> None:
    said = mail().replace(b"Content-Type: message/delivery-status\n", b"Content-Type: " + kind + b"\n" + encoding)

    [report] = dsn.reports(said.replace(b"rfc822;", b"utf-8;"))

    assert (report.kind, report.address) == (Kind.HARD_BOUNCE, hint(ADDRESS))


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"Subject: hello\n\nhi\n",
        mail().replace(str(ID).encode(), b"20261124.1"),
        mail().replace(b"Action:", b"Inaction:"),
        mail().replace(b"message/delivery-status", b"text/plain"),
        b"\xff\xfe\x00" * 100,
    ],
)
def test_other_mails_say_nothing(other: bytes) -> None:
    assert dsn.reports(other) == []


@given(st.binary(max_size=400), st.integers(0, len(mail())), st.integers(0, 40))
def test_no_mail_breaks_the_reader(junk: bytes, at: int, cut: int) -> None:
    broken = mail()[:at] + junk + mail()[at + cut :]

    assert all(report.delivery_id for report in dsn.reports(broken))


@pytest.mark.parametrize(
    "hostile",
    [
        b"Content-Type: message/rfc822\n\n" * 3000,
        b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(900)),
        b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\n" * 200_000,
        b"Content-Type: multipart/report; boundary=" + b"a;" * 1_000_000,
        b"Content-Type: multipart/report; " + b"".join(b"x*%d=a; " % n for n in range(20_000)) + b"boundary=B\n\n--B\n",
        b"A: b\n" * 200_000,
    ],
    ids=["mails in mails", "parts in parts", "parts", "a header", "parameters", "headers"],
)
def test_a_mail_made_to_hold_the_reader_up_is_read_in_bounded_time(hostile: bytes) -> None:
    began = time.thread_time()

    assert dsn.reports(hostile) == []

    assert time.thread_time() - began < 10  # of its own work; without a bound it is minutes, or no end at all


def test_a_report_that_returns_a_large_mail_is_read(database: str) -> None:
    assert [report.kind.value for report in dsn.reports(mail() + b"x" * 2_000_000)] == ["hard_bounce"]


def test_a_bounce_stops_mail_to_the_address_that_we_sent_to(database: str, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(recipient_phone=None), address_hash=hint("really@example.com"))

    assert _run(mail(delivery=delivery_id)) == 0
    assert _run(mail(delivery=delivery_id)) == 0

    assert standing(sql, delivery_id) == ("bounced", "hard_bounce")
    (row,) = sql("SELECT address_hash, source FROM suppressions")
    assert (row["address_hash"], row["source"]) == (hint("really@example.com"), "dsn")


def test_a_forged_bounce_of_a_mail_that_we_never_sent_stops_nobody(database: str, sql: Sql) -> None:
    assert _run(mail()) == 0

    assert suppressed(sql) == []


def _run(body: bytes, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body)))
        return dsn.main(list(arguments))


def test_a_dry_run_tells_and_writes_nothing(
    database: str, card: Issue, sql: Sql, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delivery_id = sent(sql, card())
    (tmp_path / "a.eml").write_bytes(mail(delivery=delivery_id))
    (tmp_path / "b.eml").write_bytes(b"Subject: hi\n\n")

    assert dsn.main(["--dry-run", str(tmp_path / "a.eml"), str(tmp_path / "b.eml")]) == 0

    said = capsys.readouterr().out
    assert said.splitlines() == [
        f"delivery {delivery_id}: hard_bounce 5.1.1 (not written down)",
        "no report about a delivery of ours",
    ]
    assert sql("SELECT FROM provider_events") == []


def test_while_the_database_is_away_the_mail_server_keeps_the_mail(database: str, setting: Setting) -> None:
    db.close_pool()
    setting(database_url=database.replace("/test_", "/gone_"))

    assert _run(mail()) == 75


def test_a_mail_server_can_pipe_to_it(database: str, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(recipient_phone=None))
    command = [sys.executable, "-W", "error", "-m", "services.delivery.dsn"]

    done = subprocess.run(command, input=mail(delivery=delivery_id), capture_output=True, check=True, env=os.environ)

    assert standing(sql, delivery_id) == ("bounced", "hard_bounce")
    assert ADDRESS.encode() not in done.stdout + done.stderr


def test_its_help_shows_how_to_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dsn.main(["--help"])

    assert "/etc/aliases" in capsys.readouterr().out
