"""Turn a card into the words that a person reads: subject, text and HTML, in their language."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cache
from uuid import UUID

import css_inline
from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.loaders import FileSystemLoader
from jinja2.sandbox import SandboxedEnvironment

from services.delivery import qr, words
from services.delivery.plain import first_name, name, one_line, plain, unlinked
from services.delivery.providers import ErrorClass, ProviderError
from services.delivery.words import Speaker, language_of, parse_locale, version

__all__ = [
    "CardView", "Rendered", "language_of", "long_date", "money", "one_line", "parse_locale", "render", "render_sms",
    "unlinked", "version",
]  # fmt: skip

LONGEST_MESSAGE = 500
LONGEST_NAME = 80
LONGEST_NAME_IN_SUBJECT = 24  # RFC 5322 recommends lines of 78 characters, and phones show fewer
SHOWS_CODE = {"gift_card"}  # every other template shows the last four characters only
TO_PURCHASER = {"gift_undeliverable"}  # in their language, and without the recipient's family name
REASONS = ("email_refused", "mailbox_full", "sms_refused", "no_address", "declined", "unconfirmed", "other")


@dataclass(frozen=True)
class CardView:
    """Hold what a message may say about a card. Its repr shows nothing private.

    Parameters:
        code: the secret itself; None where only its last four characters are needed.
        expires_on: the last day on which the card works, in the card's zone.
        locale: the reader's, such as pt-BR; what no template speaks falls back to pt, then to English.
        recipient_name: of the gift, also in a message to its purchaser.
        days_left: whole days until expires_on, for reminders; None elsewhere.
        unsubscribe_url: for reminders; None offers none.
        reason: why a gift could not be delivered, one of ``REASONS``; None and any other word say "other".
    """

    gift_card_id: UUID
    code: str | None = field(repr=False)
    code_last4: str = field(repr=False)
    balance: Decimal
    currency: str
    expires_on: date
    locale: str = words.DEFAULT_LOCALE
    recipient_name: str | None = field(default=None, repr=False)
    sender_name: str | None = field(default=None, repr=False)
    personal_message: str | None = field(default=None, repr=False)
    days_left: int | None = None
    shop_url: str = "https://shop.example.com"
    shop_name: str = "Gift Cards"
    unsubscribe_url: str | None = field(default=None, repr=False)
    reason: str | None = None


@dataclass(frozen=True)
class Rendered:
    """Hold the parts of one message, and what exactly was rendered.

    Parameters:
        language: whose words it has, such as "pt"; see `language_of`.
        version: of the template in that language; see `version`.
        qr_png: None when the template does not show the code.
    """

    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    language: str
    version: str
    qr_png: bytes | None = field(default=None, repr=False)


def render(template_id: str, view: CardView, *, qr_cid: str = "code") -> Rendered:
    """Fill the template of that id in the card's language.

    Parameters:
        qr_cid: Content-ID under which the HTML refers to the QR code.

    Raises:
        ProviderError: content, for an unknown template or a card without what the template needs.
    """
    language = language_of(template_id, view.locale)
    speaker = _speaker(template_id, view, language)
    subject = _subject(speaker)
    given = _context(view, speaker) | {"qr_cid": qr_cid, "subject": subject}
    spoken = {"fact": speaker.fact, "plain": speaker.say}
    try:
        text = _template(f"{template_id}.txt").render(given, say=speaker.say, **spoken)
        html = _template(f"{template_id}.html").render(given, say=speaker.html, **spoken)
    except TemplateError as error:
        raise ProviderError(ErrorClass.CONTENT, "template", f"template {template_id} fails: {error}") from None
    code = speaker.values.get("code")
    picture = qr.png(code) if code else None
    parts = (subject, text.strip() + "\n", _inliner().inline(html))
    return Rendered(*parts, language, version(template_id, language), picture)


def render_sms(template_id: str, view: CardView, **values: str) -> str:
    """Fill the SMS of that id; ``values`` take the place of what the card says."""
    speaker = _speaker(template_id, view, language_of(template_id, view.locale))
    return replace(speaker, values={**speaker.values, **values}).say("sms")


def money(view: CardView) -> str:
    """Write the balance as people of the card's locale do. It may hold no-break spaces and bidi marks."""
    return format_currency(view.balance, view.currency, locale=parse_locale(view.locale))


def long_date(view: CardView) -> str:
    """Write the last valid day with the month as a word, since 01/02 means two things."""
    return format_date(view.expires_on, format="long", locale=parse_locale(view.locale))


def _speaker(template_id: str, view: CardView, language: str) -> Speaker:
    days = None if view.days_left is None else max(view.days_left, 0)
    recipient = name(view.recipient_name, LONGEST_NAME)
    values = {
        "amount": money(view),
        "expires": long_date(view),
        "last4": view.code_last4,
        "recipient": unlinked(recipient),
        "first_name": unlinked(first_name(recipient)),
        "sender": unlinked(name(view.sender_name, LONGEST_NAME)),
        "days": str(days),
        "shop_name": view.shop_name,
        "shop_url": view.shop_url,
    }
    return Speaker(template_id, language, values | _code(template_id, view), days)


def _code(template_id: str, view: CardView) -> dict[str, str]:
    if template_id not in SHOWS_CODE:
        return {}
    if not view.code:
        raise ProviderError(ErrorClass.CONTENT, "no_code", f"template {template_id} shows the card's code: give it one")
    return {"code": view.code}


def _subject(speaker: Speaker) -> str:
    short = {who: plain(speaker.values[who], LONGEST_NAME_IN_SUBJECT) for who in ("sender", "first_name")}
    return one_line(replace(speaker, values={**speaker.values, **short}).say("subject"))


def _context(view: CardView, speaker: Speaker) -> dict[str, str | None]:
    return {
        **speaker.values,
        "lang": speaker.language,
        "dir": Locale.parse(speaker.language, sep="-").text_direction,
        "message": unlinked(plain((view.personal_message or "").replace("\r\n", "\n").strip(), LONGEST_MESSAGE)),
        "reason": view.reason if view.reason in REASONS else "other",
        "unsubscribe_url": view.unsubscribe_url,
    }


@cache
def _template(file: str) -> Template:
    return _environment().get_template(file)


@cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=FileSystemLoader(words.FOLDER),
        autoescape=lambda file: bool(file) and str(file).endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _inliner() -> css_inline.CSSInliner:
    # Without keep_at_rules the rules for phones and dark mode would be dropped.
    return css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)
