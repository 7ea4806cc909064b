"""The webhooks on a real port, and providers that post to them, signed with real keys."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import requests
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from starlette.datastructures import Headers

from services.delivery import email, links, webhooks
from services.delivery.reports.incoming import Incoming
from shared.settings import Settings, settings
from tests.delivery.samples import settings_for
from tests.kinds import Row, Sql
from tests.outside.callbacks import AUTH_TOKEN, form, signed

PUBLIC = "https://hooks.example.com"
KEY = "a-key-of-ours-that-is-long-enough"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail-events"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
POSTMARK = "postmark:p4ssword"
RELAY_KEY = "the-other-relay-knows-this"
ADDRESS = "ada@example.com"
PHONE = "+14155550123"


@cache
def amazons_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, amazons_key().public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return made.sign(amazons_key(), SHA256()).public_bytes(Encoding.PEM)


@cache
def sendgrids_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sendgrids_public_key() -> str:
    public = sendgrids_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode()


def values() -> dict[str, Any]:
    """Give the settings under which `Hooks` knows all the keys."""
    return {
        "webhook_url": PUBLIC,
        "webhook_keys": json.dumps([KEY]),
        "twilio_auth_token": AUTH_TOKEN,
        "twilio_from": "+15005550006",
        "ses_topics": json.dumps([TOPIC]),
        "sendgrid_public_key": sendgrids_public_key(),
        "postmark_credentials": POSTMARK,
        "relay_events_key": RELAY_KEY,
    }


@dataclass
class Hooks:
    """Post as the providers do. ``fetched`` lists what was asked of Amazon."""

    url: str
    fetched: list[str]

    def post(self, path: str, data: Any = None, **how: Any) -> requests.Response:
        return requests.post(self.url + path, data=data, timeout=20, **how)

    def get(self, path: str, **how: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=20, **how)

    def status(
        self, delivery_id: UUID, status: str, sid: str = "SM1", code: int | None = None, **fields: str
    ) -> requests.Response:
        path = (links.status_url(delivery_id, settings()) or "").removeprefix(PUBLIC)
        return self.twilio(path, form({"sid": sid, "to": PHONE}, status, code) | fields)

    def text(self, body: str, sid: str | None = None, **fields: str) -> requests.Response:
        said = {"MessageSid": sid or f"SM{uuid4().hex}", "From": PHONE, "To": "+15005550006", "Body": body}
        return self.twilio("/twilio/inbound", said | fields)

    def twilio(self, path: str, fields: dict[str, str]) -> requests.Response:
        return self.post(path, fields, headers=signed(PUBLIC + path, fields))

    def ses(self, message: dict[str, Any] | str, **envelope: Any) -> requests.Response:
        return self.post("/email/ses", json.dumps(sealed(message, **envelope)))

    def sendgrid(self, events: Any, at: float | None = None) -> requests.Response:
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        return self.post("/email/sendgrid", body, headers=sendgrid_headers(body, at))

    def postmark(self, record: Any) -> requests.Response:
        body = record if isinstance(record, bytes) else json.dumps(record).encode()
        return self.post("/email/postmark", body, auth=tuple(POSTMARK.split(":")))

    def relay(self, *events: dict[str, Any]) -> requests.Response:
        body = json.dumps({"events": events}).encode()
        return self.post("/email/events", body, headers=relay_headers(body))


def sealed(message: dict[str, Any] | str, version: str = "1", **fields: Any) -> dict[str, Any]:
    """Put a message into an envelope of SNS, signed with the key of `certificate`."""
    envelope = {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-24T08:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **fields,
    }
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    algorithm = SHA256() if version == "2" else SHA1()  # noqa: S303  # what SNS does
    signature = amazons_key().sign(text.encode("utf-8", "replace"), PKCS1v15(), algorithm)
    return {"Signature": base64.b64encode(signature).decode(), **envelope}


def sendgrid_headers(body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    signature = sendgrids_key().sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
    }


def relay_headers(body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    signature = hmac.digest(RELAY_KEY.encode(), stamp.encode() + b"." + body, "sha256").hex()
    return {"X-Signature": f"t={stamp},v1={signature}"}


def incoming(body: bytes, **headers: str) -> Incoming:
    """Make a request as an adapter gets it, without a server and a database."""
    return Incoming("/", body, Headers({n.replace("_", "-"): v for n, v in headers.items()}), settings=known())


@cache
def known() -> Settings:
    return settings_for(**{n: json.loads(v) if v[0] == "[" else v for n, v in values().items()})


def named(delivery_id: UUID) -> str:
    """Give the Message-ID of a delivery."""
    return email.message_id(delivery_id, settings())


@contextmanager
def serving() -> Iterator[Hooks]:
    """Serve the app on a free port, with an Amazon that has one certificate."""
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return certificate()

    config = uvicorn.Config(webhooks.application(fetch), port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Hooks(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", fetched)
    finally:
        server.should_exit = True
        thread.join(10)


def sent(sql: Sql, card_id: UUID, channel: str = "email", state: str = "sent", **fields: Any) -> UUID:
    """Write down a gift that was sent, but for the fields given, and give its id."""
    row = {
        "id": uuid4(),
        "dedupe_key": f"gift:{card_id}:r1:{channel}",
        "gift_card_id": card_id,
        "kind": "gift",
        "channel": channel,
        "recipient_version": 1,
        "state": state,
        "attempts": '[{"at": "2026-11-24T08:00:00Z"}]',
    } | fields
    columns = ", ".join(row)
    sql(f"INSERT INTO deliveries ({columns}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
    return UUID(str(row["id"]))


def delivery(sql: Sql, delivery_id: UUID) -> Row:
    (row,) = sql("SELECT * FROM deliveries WHERE id = %s", delivery_id)
    return row


def standing(sql: Sql, delivery_id: UUID) -> tuple[str, str | None]:
    row = delivery(sql, delivery_id)
    return row["state"], row["reason"]


def suppressed(sql: Sql) -> list[tuple[str, str, str]]:
    """Give channel, scope and reason of what is suppressed now."""
    rows = sql("SELECT channel, scope, reason FROM suppressions WHERE lifted_at IS NULL ORDER BY channel, scope")
    return [tuple(row.values()) for row in rows]
