"""Turn a card into the words that a person reads: subject, text and HTML, in their language."""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from uuid import UUID

import css_inline
import segno
from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency
from jinja2 import StrictUndefined, Template, TemplateError, TemplateNotFound
from jinja2.loaders import FileSystemLoader
from jinja2.sandbox import SandboxedEnvironment

from services.delivery.providers import ErrorClass, ProviderError

FOLDER = Path(__file__).parent / "templates"
DEFAULT_LOCALE = "en"
LONGEST_MESSAGE = 500
LONGEST_NAME = 80
SHOWS_CODE = {"gift_card"}  # every other template shows the last four characters only


@dataclass(frozen=True)
class CardView:
    """Hold what a message may say about a card. Its repr shows nothing private.

    Parameters:
        code: the secret itself; None where only its last four characters are needed.
        expires_on: the last day on which the card works, in the card's zone.
        locale: such as pt-BR; what no template speaks falls back to pt, then to English.
        days_left: whole days until expires_on, for reminders; None elsewhere.
        unsubscribe_url: for reminders; None offers none.
    """

    gift_card_id: UUID
    code: str | None = field(repr=False)
    code_last4: str = field(repr=False)
    balance: Decimal
    currency: str
    expires_on: date
    locale: str = DEFAULT_LOCALE
    recipient_name: str | None = field(default=None, repr=False)
    sender_name: str | None = field(default=None, repr=False)
    personal_message: str | None = field(default=None, repr=False)
    days_left: int | None = None
    shop_url: str = "https://shop.example.com"
    shop_name: str = "Gift Cards"
    unsubscribe_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Rendered:
    """Hold the parts of one message. ``qr_png`` is None when the template does not show the code."""

    subject: str
    text: str
    html: str
    qr_png: bytes | None = None


def render(template_id: str, view: CardView, *, qr_cid: str = "code") -> Rendered:
    """Fill the template of that id in the card's language.

    Parameters:
        qr_cid: Content-ID under which the HTML refers to the QR code.

    Raises:
        ProviderError: content, for an unknown template or a card without what the template needs.
    """
    language = language_of(template_id, view.locale)
    code = _code(template_id, view)
    words = _words(view, language) | {"qr_cid": qr_cid, "code": code}
    try:
        subject, text, html = (_template(language, f"{template_id}.{kind}").render(words) for kind in _KINDS)
    except TemplateError as error:
        raise ProviderError(ErrorClass.CONTENT, "template", f"template {template_id} fails: {error}") from None
    return Rendered(one_line(subject), text.strip() + "\n", _inliner().inline(html), qr_png(code) if code else None)


def render_sms(template_id: str, view: CardView, **words: object) -> str:
    """Fill the SMS template of that id; ``words`` take the place of what the card says."""
    language = language_of(template_id, view.locale)
    given = _words(view, language) | {"code": _code(template_id, view)} | words
    return " ".join(_template(language, f"{template_id}.sms.txt").render(given).split())


def language_of(template_id: str, locale: str) -> str:
    """Give the folder of the best translation: that of the locale, of its language, or English.

    Raises:
        ProviderError: content, when no language has such a template.
    """
    found = parse_locale(locale)
    for name in (str(found).replace("_", "-"), found.language, DEFAULT_LOCALE):
        if f"{name}/{template_id}.subject.txt" in _known():
            return name
    raise ProviderError(ErrorClass.CONTENT, "no_template", "no template has this id: see services/delivery/templates")


def parse_locale(locale: str) -> Locale:
    """Read a BCP 47 or POSIX locale; anything unknown becomes English."""
    try:
        return Locale.parse(locale.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale.parse(DEFAULT_LOCALE)


def money(view: CardView) -> str:
    """Write the balance as people of the card's locale do. It may hold no-break spaces and bidi marks."""
    return format_currency(view.balance, view.currency, locale=parse_locale(view.locale))


def long_date(view: CardView) -> str:
    """Write the last valid day with the month as a word, since 01/02 means two things."""
    return format_date(view.expires_on, format="long", locale=parse_locale(view.locale))


def one_line(text: str, limit: int = 200) -> str:
    """Make text fit for a header: no line breaks, no control characters."""
    return plain(" ".join(text.split()), limit)


# Mail programs turn whatever looks like an address into a link; a word joiner (invisible) stops them.
_LINKABLE = re.compile(r"(?<=:)(?=//)|(?<=\w)(?=\.[^\W\d_])|(?<=\w)(?=@\w)")


def unlinked(text: str) -> str:
    """Keep web and mail addresses in a stranger's words from becoming links."""
    return _LINKABLE.sub("\u2060", text)


def plain(text: str, limit: int) -> str:
    """Take control characters and direction overrides out, and shorten to ``limit`` characters."""
    kept = "".join(c for c in text if c == "\n" or not (unicodedata.category(c) == "Cc" or c in _OVERRIDES))
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


_OVERRIDES = {chr(n) for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)}
_KINDS = ("subject.txt", "txt", "html")


def qr_png(code: str) -> bytes:
    """Draw a code as a QR code: black on white whatever the reader's theme, with the quiet zone of ISO 18004."""
    out = io.BytesIO()
    segno.make(code, error="m", micro=False).save(out, kind="png", scale=6, border=4, dark="#111", light="#fff")
    return out.getvalue()


def _code(template_id: str, view: CardView) -> str | None:
    if template_id not in SHOWS_CODE:
        return None
    if not view.code:
        raise ProviderError(ErrorClass.CONTENT, "no_code", f"template {template_id} shows the card's code: give it one")
    return view.code


def _words(view: CardView, language: str) -> dict[str, str | int | None]:
    return {
        "lang": language,
        "dir": Locale.parse(language, sep="-").text_direction,
        "amount": money(view),
        "expires": long_date(view),
        "last4": view.code_last4,
        "recipient": unlinked(one_line(view.recipient_name or "", LONGEST_NAME)),
        "sender": unlinked(one_line(view.sender_name or "", LONGEST_NAME)),
        "message": unlinked(plain((view.personal_message or "").replace("\r\n", "\n").strip(), LONGEST_MESSAGE)),
        "days_left": view.days_left,
        "shop_url": view.shop_url,
        "shop_name": view.shop_name,
        "unsubscribe_url": view.unsubscribe_url,
    }


@cache
def _known() -> frozenset[str]:
    return frozenset(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*"))


@cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        autoescape=lambda name: bool(name) and str(name).endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _template(language: str, name: str) -> Template:
    try:
        return _environment().get_template(f"{language}/{name}")
    except TemplateNotFound as error:
        raise ProviderError(ErrorClass.CONTENT, "no_template", f"file {error} is missing in the templates") from None


@cache
def _inliner() -> css_inline.CSSInliner:
    # Without keep_at_rules the rules for phones and dark mode would be dropped.
    return css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)
