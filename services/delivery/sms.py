"""SMS: the text of a card in as few segments as can be, and its way through Twilio."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import product
from typing import Any

import requests
from babel.dates import format_date
from babel.numbers import format_currency
from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from services.delivery.gsm import normalised, segments
from services.delivery.plain import name, unlinked
from services.delivery.providers import TWILIO_WAIT_S, Accepted, ErrorClass, ProviderError, classify_twilio
from services.delivery.rendering import (
    CardView,
    language_of,
    money,
    parse_locale,
    render_sms,
    version,
)
from services.delivery.twilio_http import HttpClient
from shared.settings import Settings

MOST_SEGMENTS = 3
LONGEST_SENDER = 40
# Twilio's clock and ours may differ; an older SMS with the same text to the same number is far older than this.
CLOCKS_DIFFER = timedelta(seconds=60)
LISTED = 200
_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Text:
    """Hold the words of an SMS, and what exactly they are. Its repr does not show them: they hold a card's code.

    Parameters:
        segments: parts that it is sent and paid in; see `gsm.segments`.
        language: whose words it has, such as "pt".
        version: of the template in that language; see `rendering.version`.
    """

    body: str = field(repr=False)
    segments: int
    language: str
    version: str


def text(view: CardView, template_id: str = "gift_card") -> Text:
    """Write the SMS of a card in as few segments as its language allows, at most three.

    A long sender's name is given up before the code is; so is one that a phone would turn into a link.

    Raises:
        ProviderError: content, when even the bare text is too long or the template lacks something.
    """
    language = language_of(template_id, view.locale)
    giver = normalised(name(view.sender_name, LONGEST_SENDER))
    for sender in (giver if unlinked(giver) == giver else "", ""):
        body = min(_ways(view, template_id, language, sender), key=segments)  # the first of those of equal length
        if (count := segments(body)) <= MOST_SEGMENTS:
            return Text(body, count, language, version(template_id, language))
    raise ProviderError(
        ErrorClass.CONTENT, "too_long", f"an SMS of more than {MOST_SEGMENTS} segments: shorten the template"
    )


def _ways(view: CardView, template_id: str, language: str, sender: str) -> Iterator[str]:
    """Write the same with money and date as the reader does, then plainer: one rupee sign may double the price."""
    latin = format_currency(view.balance, view.currency, "¤¤ #,##0.00", locale="en")
    for amount, locale in product((money(view), latin), (view.locale, language)):
        expires = format_date(view.expires_on, format="medium", locale=parse_locale(locale))
        yield normalised(render_sms(template_id, view, sender=sender, amount=amount, expires=expires))


def send(body: str, to: str, settings: Settings, *, status_callback: str | None = None) -> Accepted:
    """Ask Twilio to send a text, once: nothing is retried here.

    Parameters:
        to: in E.164.
        status_callback: where Twilio shall report what became of it; None: nowhere.

    Raises:
        ProviderError: unknown, when Twilio may have taken it (time-out, lost connection, 5xx); else it did not.
    """
    client = _client(settings)
    try:
        message = client.messages.create(to=to, body=body, **_origin(settings), **_callback(status_callback))
    except TwilioException as error:
        raise _refused(error, client.http_client.headers) from None
    except requests.RequestException as error:
        raise _lost(error) from None
    return Accepted(message.sid, f"status {message.status}")


def find(to: str, words: str, since: datetime, settings: Settings) -> str | None:
    """Ask Twilio whether it has a text: the sid of the newest to this number with these words in it; None: none.

    Parameters:
        words: what no other text has, such as the card's code; the rest may read differently by now.
        since: when the attempt began; older messages do not count.

    Raises:
        ProviderError: transient or sender, when Twilio cannot be asked now.
    """
    client = _client(settings)
    try:
        # Not filtered by DateSent: a message that still waits to be sent has none.
        listed = client.messages.list(to=to, limit=LISTED, page_size=LISTED)
    except TwilioException as error:
        found = _refused(error, client.http_client.headers)
        raise _asked_in_vain(found.error_class, found.code, found.excerpt, found.after_s) from None
    except requests.RequestException as error:
        raise _asked_in_vain(ErrorClass.TRANSIENT, "no_reply", type(error).__name__) from None
    return next((message.sid for message in listed if _is_it(message, words, since)), None)


def _is_it(message: Any, words: str, since: datetime) -> bool:
    created: datetime = message.date_created or datetime.now(UTC)
    return words.rstrip() in str(message.body) and created >= since - CLOCKS_DIFFER


def _asked_in_vain(error_class: ErrorClass, code: str, excerpt: str, after_s: float | None = None) -> ProviderError:
    # Asking changes nothing at Twilio's, so an answer that fails is no new unknown.
    asked = ErrorClass.TRANSIENT if error_class is ErrorClass.UNKNOWN else error_class
    return ProviderError(asked, code, excerpt, after_s)


def _client(settings: Settings) -> Any:
    """Give this thread's client, whose connection stays open."""
    wanted = (settings.twilio_account_sid, settings.twilio_api_key, settings.twilio_base_url)
    secret = settings.twilio_api_secret
    if not (settings.twilio_account_sid and settings.twilio_api_key and secret):
        raise ProviderError(
            ErrorClass.SENDER,
            "not_configured",
            "set JOBS_TWILIO_ACCOUNT_SID, JOBS_TWILIO_API_KEY and JOBS_TWILIO_API_SECRET",
        )
    known, client = getattr(_thread, "client", (None, None))
    if known != wanted:
        close()
        http = HttpClient(settings.twilio_base_url, settings.twilio_timeout_s)
        client = Client(
            settings.twilio_api_key, secret.get_secret_value(), settings.twilio_account_sid, http_client=http
        )
        _thread.client = (wanted, client)
    return client


def close() -> None:
    """Close this thread's connection, if it has one."""
    _, client = getattr(_thread, "client", (None, None))
    if client:
        client.http_client.session.close()
    _thread.client = (None, None)


def _origin(settings: Settings) -> dict[str, str]:
    origin = settings.twilio_from
    if not origin:
        raise ProviderError(ErrorClass.SENDER, "not_configured", "set JOBS_TWILIO_FROM")
    return {"messaging_service_sid" if origin.startswith("MG") else "from_": origin}


def _callback(url: str | None) -> dict[str, str]:
    return {"status_callback": url} if url else {}


def _refused(error: TwilioException, headers: Mapping[str, str]) -> ProviderError:
    # Some are TwilioServiceException, which shares no parent with status and code but TwilioException.
    status, code = getattr(error, "status", 0), getattr(error, "code", None)
    if not isinstance(status, int) or not 400 <= status < 600:
        return ProviderError(ErrorClass.UNKNOWN, "no_sense", f"Twilio's answer makes no sense: {type(error).__name__}")
    excerpt = getattr(error, "msg", None) or getattr(error, "detail", None) or getattr(error, "title", "")
    known = code if isinstance(code, int) else None
    error_class = classify_twilio(known, status)
    return ProviderError(error_class, str(known or status), str(excerpt), _after_s(error_class, known, headers))


def _after_s(error_class: ErrorClass, code: int | None, headers: Mapping[str, str]) -> float | None:
    told = headers.get("Retry-After", "").strip()
    if told.isdigit():
        return float(told)
    if told:
        with suppress(ValueError, TypeError):  # no date, or one without a zone
            return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    return TWILIO_WAIT_S.get(code or 0) or (30.0 if error_class is ErrorClass.RATE_LIMITED else None)


def _lost(error: requests.RequestException) -> ProviderError:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return ProviderError(ErrorClass.TRANSIENT, "no_connection", "Twilio cannot be reached: nothing was sent")
    if isinstance(error, requests.exceptions.SSLError):
        return ProviderError(ErrorClass.SENDER, "security", "Twilio's certificate is not trusted")
    return ProviderError(ErrorClass.UNKNOWN, "no_reply", f"no answer from Twilio: {type(error).__name__}")
