"""E-mail: compose a message, and hand it to the relay with knowledge of how far it got."""

from __future__ import annotations

import base64
import quopri
import re
import smtplib
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import cast
from uuid import UUID

from services.delivery import last_moment, smtp
from services.delivery.providers import Accepted, ErrorClass, ProviderError, redact
from services.delivery.rendering import TO_PURCHASER, CardView, Rendered, one_line, render
from shared import tracing
from shared.settings import Settings

# RFC 5321 4.5.3.2.6: a server may think for ten minutes after the final dot; giving up earlier makes duplicates.
FINAL_TIMEOUT_S = 600.0
# How Postfix, Exim and Amazon SES name a message they took; bounces may carry that name.
QUEUE_IDS = (r"queued as ([\w.-]+)", r"\bid=([\w.-]+)", r"\bok ([\w.-]{8,})$")


@dataclass(frozen=True, slots=True)
class Letter:
    """Hold a message as it goes over the line to one recipient, by whichever relay. Its repr shows nothing private.

    Parameters:
        body: with CRLF at the end of each line, and doubled dots (RFC 5321 4.5.2).
        utf8: an address goes beyond ASCII, so the relay must offer SMTPUTF8 (RFC 6531).
    """

    sender: str
    to: str = field(repr=False)
    body: bytes = field(repr=False)
    utf8: bool


def compose(
    view: CardView, template_id: str, to: str, delivery_id: UUID, settings: Settings, now: datetime | None = None
) -> EmailMessage:
    """Build the message of one delivery; a second call gives the same Message-ID.

    Raises:
        ProviderError: content, when the card's data cannot be put into this template or into a header.
    """
    name, sender = parseaddr(settings.mail_from)
    host = sender.rpartition("@")[2]
    cid = f"code.{delivery_id}@{host}"
    mail = render(template_id, view, qr_cid=cid)
    message = EmailMessage()
    try:
        message["Message-ID"] = message_id(delivery_id, settings)
        message["Date"] = format_datetime(now or datetime.now(UTC))
        message["From"] = Address(name, addr_spec=sender)
        reader = "" if template_id in TO_PURCHASER else view.recipient_name or ""
        message["To"] = _recipient(one_line(reader), to)
        message["Subject"] = mail.subject
    except (ValueError, IndexError) as error:
        raise ProviderError(ErrorClass.CONTENT, "header", f"a name or an address fits no header: {error}") from None
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    _offer_unsubscribe(message, view, template_id)
    _add_parts(message, mail, cid)
    return message


def message_id(delivery_id: UUID, settings: Settings) -> str:
    """Give the Message-ID of a delivery. It never changes, so that receivers can tell a resend from a second gift."""
    return f"<{delivery_id}@{parseaddr(settings.mail_from)[1].rpartition('@')[2]}>"


def _recipient(name: str, to: str) -> Address:
    local, _, domain = to.rpartition("@")
    return Address(name, username=local, domain=domain)


def _offer_unsubscribe(message: EmailMessage, view: CardView, template_id: str) -> None:
    # RFC 8058; the gift itself is transactional and carries none.
    if view.unsubscribe_url and template_id != "gift_card":
        message["List-Unsubscribe"] = f"<{view.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def _add_parts(message: EmailMessage, mail: Rendered, cid: str) -> None:
    # Written out here (RFC 2045, 2046): the few headers of a part never change, and EmailMessage would parse and fold
    # each again and again as if a person had written it, which costs more than all else about a mail.
    html = _text("html", mail.html)
    if mail.qr_png:
        html = f"Content-Type: {_multipart('related')}\r\n\r\n{_together('related', html, _image(mail.qr_png, cid))}"
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = _multipart("alternative")
    message.set_payload(_together("alternative", _text("plain", mail.text), html))


def _multipart(subtype: str) -> str:
    return f'multipart/{subtype}; boundary="=_{subtype}"'


def _together(subtype: str, *parts: str) -> str:
    # RFC 2045 6.7: neither quoted-printable nor base64 can contain "=_".
    return "".join(f"--=_{subtype}\r\n{part}\r\n" for part in parts) + f"--=_{subtype}--\r\n"


def _text(subtype: str, text: str) -> str:
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable'
    lines = text.replace("\r\n", "\n").replace("\n", "\r\n")
    return f"{head}\r\n\r\n{quopri.encodestring(lines.encode()).decode('ascii')}"


def _image(png: bytes, cid: str) -> str:
    head = (
        "Content-Type: image/png",
        "Content-Transfer-Encoding: base64",
        'Content-Disposition: inline; filename="gift-card-code.png"',
        f"Content-ID: <{cid}>",
    )
    return "\r\n".join((*head, "", *base64.encodebytes(png).decode("ascii").splitlines()))


def letter(message: EmailMessage, to: str) -> Letter:
    """Write a message out for one recipient. Done before an attempt begins: what fails here was never on its way.

    Raises:
        ProviderError: content, when a header cannot be written as it is.
    """
    sender = parseaddr(str(message["From"]))[1]
    utf8 = not (sender + to).isascii()
    try:
        body = message.as_bytes(policy=policy.SMTPUTF8 if utf8 else policy.SMTP)
    except (ValueError, MessageError) as error:
        raise ProviderError(ErrorClass.CONTENT, "header", f"a header cannot be written: {error}") from None
    body = re.sub(rb"(?m)^\.", b"..", body)
    return Letter(sender, to, body if body.endswith(b"\r\n") else body + b"\r\n", utf8)


def send(letter: Letter, settings: Settings, *, final_timeout_s: float = FINAL_TIMEOUT_S) -> Accepted:
    """Hand a letter to the relay, over this thread's open connection.

    Parameters:
        final_timeout_s: longest wait for the answer to the final dot; shorter than the default makes duplicates.

    Raises:
        ProviderError: unknown, when the final dot was sent and no answer came; any other class: it was not accepted.
    """
    with tracing.calling("smtp", settings.smtp_host, settings.smtp_port):
        return _handed_over(letter, settings, final_timeout_s)


def _handed_over(letter: Letter, settings: Settings, final_timeout_s: float) -> Accepted:
    connection = smtp.begin(settings, letter.sender, letter.to, len(letter.body), utf8=letter.utf8)
    try:
        with smtp.lost_is_transient(connection):
            connection.send(letter.body)
        last_moment.look()  # without the final dot it is no mail
        accepted = _finish(connection, final_timeout_s)
    except ProviderError as error:
        smtp.settle(connection, settings, error)
        raise
    except BaseException:
        connection.close()
        raise
    smtp.park(connection, settings)
    return accepted


def _finish(connection: smtplib.SMTP, timeout_s: float) -> Accepted:
    sock = cast(socket.socket, connection.sock)
    usual_s = sock.gettimeout()
    sock.settimeout(timeout_s)
    try:
        connection.send(b".\r\n")
        code, text = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise ProviderError(ErrorClass.UNKNOWN, "no_reply", f"no answer after the final dot: {error}") from None
    if code // 100 not in (2, 4, 5):
        raise ProviderError(ErrorClass.UNKNOWN, "no_reply", "the answer to the final dot means nothing")
    sock.settimeout(usual_s)
    smtp.expect((code, text))
    return _accepted(text.decode("utf-8", "replace"))


def _accepted(words: str) -> Accepted:
    found = filter(None, (re.search(pattern, words, re.IGNORECASE) for pattern in QUEUE_IDS))
    return Accepted(next((match.group(1) for match in found), None), redact(words))
