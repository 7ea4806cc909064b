"""Delivery status notifications: the mails by which mail servers say that a mail of ours did not arrive, or did.

Sources: RFC 3464 (message/delivery-status), RFC 6522 (multipart/report), RFC 6533 (its international form).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import UUID

from services.delivery.reports import inbox
from services.delivery.reports.report import (
    Kind,
    Report,
    address,
    bounced,
    delivery_named,
    digest,
    enhanced,
    moment,
    word,
)
from shared import db, logs
from shared.settings import settings

PROVIDER = "dsn"
LARGEST_MAIL = 10 * 1024 * 1024
# What a report says, and the headers of the mail that it returns, come first. Some headers take Python's parser a time
# that grows with their square, and anybody may send one.
READ = 128 * 1024
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the mail server keeps the mail and runs us again
HELP = """\
Reads delivery status notifications (bounces) of mails that we sent, and writes down what they say. A mail that is none,
or that is about a mail of somebody else, is passed over. Exit status 75 asks the mail server to try again later.

Send our mail with an envelope sender of its own and pipe what comes there. Postfix, /etc/aliases:

    bounces: "|/usr/bin/env JOBS_DATABASE_URL_FILE=/run/secrets/database_url … python -m services.delivery.dsn"

By hand, for mails that were saved:

    python -m services.delivery.dsn --dry-run saved/*.eml
"""


def reports(mail: bytes) -> list[Report]:
    """Read a mail; empty when it is no DSN about a delivery of ours. No recipient is read without that."""
    try:
        return _reports(message_from_bytes(mail[:READ], policy=policy.compat32))
    except RecursionError:  # mails in mails in mails: no server writes that, but anybody may send it
        return []


def _reports(message: Message) -> list[Report]:
    parts = list(message.walk())
    ours = _original(parts)
    if ours is None:
        return []
    groups = [part for part in parts if part.get_content_type().endswith("delivery-status")]
    return [_read(group, ours) for part in groups for group in _groups(part) if group.get("Action")]


def _original(parts: list[Message]) -> UUID | None:
    """Find our Message-ID in the returned mail, or in the headers of it that were returned."""
    for part in parts:
        if found := delivery_named(_text(_inner(part), "Message-ID")):
            return found
    return None


def _inner(part: Message) -> Message:
    kind = part.get_content_type()
    if kind == "text/rfc822-headers":
        return message_from_bytes(_payload(part), policy=policy.compat32)
    if kind in ("message/rfc822", "message/global", "message/global-headers") and part.is_multipart():
        inner = part.get_payload(0)
        return inner if isinstance(inner, Message) else Message()
    return Message()


def _groups(part: Message) -> Iterator[Message]:
    """Give the groups of fields: the one about the message first, then one for each recipient."""
    payload = part.get_payload()
    if isinstance(payload, list) and part.get_content_type() == "message/delivery-status":
        yield from (group for group in payload if isinstance(group, Message))
        return
    # Python's parser takes the international form for one mail, and leaves alone what is encoded.
    whole = payload[0] if isinstance(payload, list) else None
    text = whole.as_bytes() if isinstance(whole, Message) else _payload(part)
    for group in text.replace(b"\r\n", b"\n").split(b"\n\n"):
        yield message_from_bytes(group, policy=policy.compat32)


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message, name: str) -> str | None:
    return word(str(part.get(name, "")), 998)


def _read(group: Message, delivery_id: UUID) -> Report:
    action = (_text(group, "Action") or "").lower()
    said, diagnostic = _text(group, "Status"), _text(group, "Diagnostic-Code")
    status = enhanced(said, diagnostic)
    recipient = _typed(_text(group, "Original-Recipient")) or _typed(_text(group, "Final-Recipient"))
    fingerprint = address("email", recipient)
    return Report(
        provider=PROVIDER,
        event_id=digest(delivery_id, fingerprint, action, status),
        kind=_kind(action, status),
        delivery_id=delivery_id,
        address=fingerprint,
        code=status,
        occurred_at=_date(_text(group, "Last-Attempt-Date")),
        facts={"action": word(action, 20), "status": status},
    )


def _kind(action: str, status: str | None) -> Kind:
    if action == "failed":
        return bounced(status, permanent=not (status or "5").startswith("4"))
    found = {
        "delayed": Kind.DEFERRED,
        "delivered": Kind.DELIVERED,
        "expanded": Kind.DELIVERED,
        "relayed": Kind.ACCEPTED,
    }
    return found.get(action, Kind.NOTHING)


def _typed(value: str | None) -> str | None:
    """Take the type off an address such as ``rfc822; ada@example.com``."""
    return value.partition(";")[2].strip().strip("<>") if value and ";" in value else value


def _date(value: str | None) -> datetime | None:
    try:
        return moment(parsedate_to_datetime(value).isoformat()) if value else None
    except (ValueError, TypeError, OverflowError):
        return None


def main(arguments: list[str] | None = None) -> int:
    """Read mails from files or standard input. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m services.delivery.dsn", description=HELP, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="mails; none: one mail on standard input")
    parser.add_argument("--dry-run", action="store_true", help="print what they say, and write nothing down")
    options = parser.parse_args(arguments)
    logs.configure(settings().log_level)
    mails = [file.read_bytes() for file in options.files] or [sys.stdin.buffer.read(LARGEST_MAIL)]
    try:
        for mail in mails:
            _deal_with(mail, dry_run=options.dry_run)
    except db.AWAY as error:
        logs.get().warning("database_away", **logs.place(error))
        return TRY_AGAIN
    finally:
        db.close_pool()
    return 0


def _deal_with(mail: bytes, *, dry_run: bool) -> None:
    found = reports(mail)
    if not found:
        print("no report about a delivery of ours")
    for report in found:
        outcome = "not written down" if dry_run else inbox.take(report)
        print(f"delivery {report.delivery_id}: {report.kind.value} {report.code or ''} ({outcome})")


if __name__ == "__main__":
    raise SystemExit(main())
