"""Any other relay: our own form of events, for a few lines of script beside it.

POST /email/events
X-Signature: t=<Unix seconds>,v1=<hex of HMAC-SHA256 over "<t>." and the body, keyed with relay_events_key>

{"events": [{"kind": "hard_bounce", "message_id": "<…@…>", "email": "…", "code": "5.1.1", "at": "2026-12-01T09:00Z"}]}
"""

from __future__ import annotations

import hmac
from typing import Literal

from services.delivery.reports.incoming import Incoming, Lenient, Malformed, Refused, parsed, secret
from services.delivery.reports.report import Kind, Moment, Report, Word, address, delivery_named, digest

PROVIDER = "relay"
REPLAY_S = 300

Told = Literal["accepted", "deferred", "delivered", "failed", "soft_bounce", "hard_bounce", "complaint", "unsubscribe"]


class Event(Lenient):
    """One event. ``id`` may be left out; one of message_id, provider_id and email is needed."""

    kind: Told
    id: Word = None
    message_id: Word = None
    provider_id: Word = None
    email: Word = None
    code: Word = None
    at: Moment = None


class Events(Lenient):
    """What is posted."""

    events: list[Event]


def reports(request: Incoming) -> list[Report]:
    """Read a post of events.

    Raises:
        Refused: it is not signed with our key, or was signed over five minutes ago.
        Malformed: with the fields that are wrong.
    """
    _check(request)
    return [_read(event) for event in parsed(Events, request.body).events]


def _check(request: Incoming) -> None:
    key = secret(request.settings.relay_events_key)
    stamp, signature = _header(request.headers.get("X-Signature", ""))
    wanted = hmac.digest(key.encode(), stamp.encode() + b"." + request.body, "sha256").hex()
    if not hmac.compare_digest(wanted.encode(), signature.encode()):
        raise Refused("bad_signature")
    if not stamp.isdecimal() or abs(request.now - float(stamp[:12])) > REPLAY_S:
        raise Refused("stale")


def _header(text: str) -> tuple[str, str]:
    found = dict(part.strip().partition("=")[::2] for part in text.split(","))
    return found.get("t", ""), found.get("v1", "")


def _read(event: Event) -> Report:
    fingerprint = address("email", event.email)
    if not (event.message_id or event.provider_id or fingerprint):
        raise Malformed("an event needs message_id, provider_id or email")
    about = event.kind, event.message_id, event.provider_id, fingerprint, event.code, event.at
    return Report(
        provider=PROVIDER,
        event_id=event.id or digest(*about),
        kind=Kind(event.kind),
        delivery_id=delivery_named(event.message_id),
        provider_id=event.provider_id,
        address=fingerprint,
        code=event.code,
        occurred_at=event.at,
        scopes=("reminders",),
        facts={"kind": event.kind},
    )
