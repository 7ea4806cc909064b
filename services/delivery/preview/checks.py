"""What must be true of every message. Each check yields what is wrong, in words; nothing when all is well."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain

from babel import Locale

from services.delivery import gsm, sms
from services.delivery.plain import unlinked
from services.delivery.preview.contrast import darkened, too_pale
from services.delivery.preview.page import Page
from services.delivery.preview.samples import CODE, Message
from services.delivery.rendering import SHOWS_CODE
from services.delivery.words import words as words_of

LARGEST = 100_000  # bytes; Gmail hides what comes after 102 kB
LONGEST_SUBJECT = 78  # RFC 5322, 2.1.1
ACTIVE = {"script", "iframe", "object", "embed", "form", "input", "button", "link", "base", "audio", "video", "svg"}
WIDE = {"ja"}  # languages that need UCS-2
_ADDRESS = re.compile(r"\w+://|\bwww\.|\w@\w|\b[\w-]+\.example\b")
_EMPTY = re.compile(r"\{\w*\}|\{\{|\bNone\b|\bundefined\b| {2,}| [,!?;](?:\s|$)")


def language(message: Message) -> Iterator[str]:
    """The HTML says in which language and direction it is."""
    direction = Locale.parse(message.language, sep="-").text_direction
    if Page(message.mail.html).all("html") != [{"lang": message.language, "dir": direction}]:
        yield f"html needs lang={message.language} dir={direction}"


def alternatives(message: Message) -> Iterator[str]:
    """Every picture has words for those who cannot see it."""
    for image in Page(message.mail.html).all("img"):
        if not image.get("alt", "").strip():
            yield f"img {image.get('src')} has no alt"


def contrast(message: Message) -> Iterator[str]:
    """All text can be read, in the light and in the dark."""
    yield from too_pale(message.mail.html)
    try:
        yield from (f"dark: {problem}" for problem in too_pale(darkened(message.mail.html)))
    except ValueError as error:
        yield str(error)


def code(message: Message) -> Iterator[str]:
    """The gift shows its code as text that can be copied; nothing else shows more than its end."""
    mail = message.mail
    if message.template_id not in SHOWS_CODE:
        if any(part in mail.subject + mail.text + mail.html for part in CODE.split("-")[:-1]) or mail.qr_png:
            yield "more of the code than its end is in it"
        return
    copied = [look for piece, look in Page(mail.html).pieces if piece.strip() == CODE]
    if not any(look.selectable for look in copied) or CODE not in mail.text or not mail.qr_png:
        yield "the code is not there as text in both parts and as a QR code"
    if CODE in mail.subject:
        yield "the code is in the subject, which shows on locked screens"


def self_contained(message: Message) -> Iterator[str]:
    """Nothing is fetched: no tracking, and it is whole without a network."""
    html = message.mail.html
    for tag, attributes in Page(html).tags:
        for name in {"src", "srcset", "background", "poster", "data"} & attributes.keys():
            if not attributes[name].startswith("cid:"):
                yield f"{tag} fetches {attributes[name]}"
    if re.search(r"url\(|@import|@font-face", html):
        yield "a style fetches something"


def inactive(message: Message) -> Iterator[str]:
    """Nothing runs, and nothing asks for input."""
    for tag, attributes in Page(message.mail.html).tags:
        if tag in ACTIVE or any(name.startswith("on") for name in attributes):
            yield f"{tag} is active"
        if not re.match(r"https://|$", attributes.get("href", "")):
            yield f"{tag} links to {attributes['href']}"


def strangers(message: Message) -> Iterator[str]:
    """The words of strangers are text alone: shown as they were written, and never a link."""
    view, page = message.view, Page(message.mail.html)
    pieces = {piece for piece, _ in page.pieces}
    for words in (view.personal_message, view.sender_name, view.recipient_name):
        if message.template_id == "gift_card" and words and unlinked(words) not in pieces:
            yield f"“{words[:30]}” is not shown as it was written"
    ours = [url for url in (view.shop_url, view.unsubscribe_url) if url]
    if not {link.get("href") for link in page.all("a")} <= set(ours):
        yield "there is a link that is not ours"
    text = message.mail.subject + "\n" + message.mail.text
    for part in ("".join(piece for piece, look in page.pieces if not look.in_link), _without(text, ours)):
        if found := _ADDRESS.search(part):
            yield f"mail programs would make a link of “{part[found.start() : found.start() + 30]}”"


def size(message: Message) -> Iterator[str]:
    """No mail program cuts it off."""
    if (length := len(message.mail.html.encode())) >= LARGEST:
        yield f"the HTML has {length} bytes; it is cut off from {LARGEST}"


def subject(message: Message) -> Iterator[str]:
    """The subject fits on one line."""
    if not 0 < len(message.mail.subject) <= LONGEST_SUBJECT:
        yield f"the subject has {len(message.mail.subject)} characters, more than {LONGEST_SUBJECT}"


def filled(message: Message) -> Iterator[str]:
    """No gap is left where a name or a value belongs."""
    mail = message.mail
    for line in chain([mail.subject], mail.text.splitlines(), Page(mail.html).text.splitlines()):
        own = line.strip().removeprefix("> ") not in unlinked(message.view.personal_message or "")
        if own and (found := _EMPTY.search(line.strip())):
            yield f"“{found[0]}” in “{line.strip()[:40]}”"


def short_message(message: Message) -> Iterator[str]:
    """The SMS is within its cap, in the cheap alphabet where language and name allow it, with the code."""
    if "sms" not in words_of(message.template_id, message.language):
        return
    said = sms.text(message.view, message.template_id)
    if said.segments > sms.MOST_SEGMENTS or CODE not in said.body:
        yield f"the SMS takes {said.segments} segments, or lacks the code"
    if message.sample in ("usual", "bare") and message.language not in WIDE and not gsm.fits(said.body):
        yield "the SMS is not in GSM-7: " + " ".join(sorted({c for c in said.body if not gsm.fits(c)}))


def _without(text: str, urls: list[str]) -> str:
    for url in sorted(urls, key=len, reverse=True):
        text = text.replace(url, "")
    return text


CHECKS: dict[str, Callable[[Message], Iterator[str]]] = {
    check.__name__: check
    for check in (
        language, alternatives, contrast, code, self_contained, inactive, strangers, size, subject, filled,
        short_message,
    )
}  # fmt: skip
