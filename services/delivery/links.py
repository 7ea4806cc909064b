"""Links that lead back to us: where Twilio reports to, and where a reader unsubscribes. Signed, without an address."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from shared.messages import hint
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Reader:
    """Name who follows an unsubscribe link: by the fingerprint of an address, and the message that carried it."""

    delivery_id: UUID
    address_hash: str


def status_url(delivery_id: UUID, settings: Settings) -> str | None:
    """Give the StatusCallback of a delivery's SMS; None when no ``webhook_url`` or key is set."""
    keys = _keys(settings)
    if not (settings.webhook_url and keys):
        return None
    return f"{settings.webhook_url.rstrip('/')}/twilio/status/{delivery_id}/{_token(delivery_id, keys[0])}"


def is_status_token(delivery_id: UUID, token: str, settings: Settings) -> bool:
    """Say whether we made this token for this delivery, with any of our keys."""
    given = token.encode()
    return any(hmac.compare_digest(_token(delivery_id, key).encode(), given) for key in _keys(settings))


def _token(delivery_id: UUID, key: str) -> str:
    return hmac.digest(key.encode(), b"twilio-status:" + delivery_id.bytes, "sha256").hex()


def unsubscribe_url(delivery_id: UUID, address: str, settings: Settings) -> str | None:
    """Give the link for List-Unsubscribe (RFC 8058); None when no ``webhook_url`` or key is set."""
    if not (settings.webhook_url and settings.webhook_keys):
        return None
    token = _signer(settings).dumps([delivery_id.hex, hint(address).removeprefix("sha256:")])
    return f"{settings.webhook_url.rstrip('/')}/unsubscribe/{token}"


def reader(token: str, settings: Settings) -> Reader | None:
    """Read a token of `unsubscribe_url`; None when none of our keys signed it."""
    if not settings.webhook_keys:
        return None
    try:
        delivery, fingerprint = _signer(settings).loads(token)
        return Reader(UUID(delivery), f"sha256:{fingerprint}")
    except (BadData, ValueError, TypeError):
        return None


def _signer(settings: Settings) -> URLSafeSerializer:
    return URLSafeSerializer(list(reversed(_keys(settings))), salt="unsubscribe")  # it signs with the last one


def _keys(settings: Settings) -> list[str]:
    return [key.get_secret_value() for key in settings.webhook_keys]
