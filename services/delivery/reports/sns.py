"""Amazon SNS: whether an envelope comes from a topic of ours, and the confirmation of a subscription.

Source: the page "Verifying the signatures of Amazon SNS messages". A right signature only proves that *some* topic of
Amazon's sent it, and anybody can make one: so the topic must be one of ``ses_topics``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.delivery.reports.incoming import Lenient, Refused, Unavailable

Fetch: TypeAlias = Callable[[str], bytes]
LONGEST_WAIT_S = 5.0
LARGEST_ANSWER = 64 * 1024
_HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]


class Envelope(Lenient):
    """What SNS posts."""

    Type: Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]
    MessageId: str
    TopicArn: str
    Message: str
    Timestamp: str
    SignatureVersion: Literal["1", "2"]
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    SubscribeURL: str | None = None
    Token: str | None = None


def fetch(url: str) -> bytes:
    """Get a document of Amazon's, once. Raises Unavailable for any answer but a prompt 200."""
    try:
        with requests.get(url, timeout=LONGEST_WAIT_S, allow_redirects=False, stream=True) as answer:
            if answer.status_code != 200:
                raise Unavailable(f"status {answer.status_code}")
            return next(answer.iter_content(LARGEST_ANSWER), b"")
    except requests.RequestException as error:
        raise Unavailable(type(error).__name__) from None


def check(envelope: Envelope, topics: tuple[str, ...], fetch: Fetch) -> None:
    """Make sure that a topic of ours sent this.

    Raises:
        Refused: it did not.
        Unavailable: the certificate cannot be had now.
    """
    if not topics:
        raise Refused("not_configured")
    if envelope.TopicArn not in topics:  # before anything is fetched on a stranger's word
        raise Refused("unknown_topic")
    if not (_is_amazons(envelope.SigningCertURL) and urlsplit(envelope.SigningCertURL).path.endswith(".pem")):
        raise Refused("bad_certificate_url")
    key = _key(fetch, envelope.SigningCertURL)
    # SNS signs with SHA-1 unless a topic is set to SignatureVersion 2.
    algorithm = hashes.SHA256() if envelope.SignatureVersion == "2" else hashes.SHA1()  # noqa: S303
    try:
        key.verify(base64.b64decode(envelope.Signature), _signed(envelope), PKCS1v15(), algorithm)
    except (InvalidSignature, ValueError):
        raise Refused("bad_signature") from None


def confirm(envelope: Envelope, fetch: Fetch) -> None:
    """Confirm the subscription that a checked envelope offers. Raises Refused or Unavailable."""
    url = envelope.SubscribeURL or ""
    if not _is_amazons(url):
        raise Refused("bad_subscribe_url")
    fetch(url)


def _is_amazons(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None  # no port, no user
    except ValueError:
        return False


def _signed(envelope: Envelope) -> bytes:
    fields: dict[str, Any] = envelope.model_dump()
    pairs = [(name, fields[name]) for name in _SIGNED[envelope.Type] if fields[name] is not None]
    return "".join(f"{name}\n{value}\n" for name, value in pairs).encode("utf-8", "replace")


@lru_cache(maxsize=16)
def _key(fetch: Fetch, url: str) -> RSAPublicKey:
    try:
        certificate = x509.load_pem_x509_certificate(fetch(url))
    except ValueError:
        raise Refused("bad_certificate") from None
    key = certificate.public_key()
    if certificate.not_valid_after_utc < datetime.now(UTC) or not isinstance(key, RSAPublicKey):
        raise Refused("bad_certificate")
    return key
