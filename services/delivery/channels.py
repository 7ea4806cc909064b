"""The two ways to a person: what each needs to send a delivery, and to ask what became of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.delivery import codes, email, hours, limits, links, rendering, sms, words
from services.delivery.deliveries import Delivery
from services.delivery.providers import Accepted
from services.delivery.rendering import CardView
from shared import db
from shared.addresses import email_address, phone_number
from shared.cards import Card
from shared.settings import Settings, settings
from shared.wall_time import zone


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message ready to go: what it is, in which language, from which version of its template."""

    payload: Any
    language: str
    version: str
    segments: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to a person.

    Parameters:
        address: check and normalise a recipient; raises ``Rejected``.
        providers: name whom to try, in order.
        prepare: compose the message; raises ``ProviderError``, class content.
        send: hand it to a provider; raises ``ProviderError``.
        sender: whom a STOP would be about: our number or messaging service; None where nobody can say it.
        quiet: the quiet hours of the settings, such as ``21:00-08:00``.
        zones: where a recipient may be.
        check: let an address pass, or raise.
        ask: give what the provider has of this delivery since a time, or None; absent where it cannot be asked.
        message_id: name the message for its receiver, the same at every attempt.
    """

    name: str
    queue: str
    address: Callable[[str], str]
    providers: Callable[[], list[str]]
    prepare: Callable[[Card, Delivery, str], Prepared]
    send: Callable[[str, Any, str, Delivery], Accepted]
    quiet: Callable[[], str]
    zones: Callable[[Card, str], list[ZoneInfo]]
    sender: Callable[[], str | None] = lambda: None
    check: Callable[[db.Connection, str], None] = lambda *_: None
    ask: Callable[[Card, str, datetime], Accepted | None] | None = None
    message_id: Callable[[Delivery], str | None] = lambda _: None


def relays() -> dict[str, Settings]:
    """Give the relays to try, in order: each by its name, with settings that point at it."""
    own = settings()
    others = [
        own.model_copy(update={f"smtp_{field}": value for field, value in relay} | {"smtp_fallbacks": ()})
        for relay in own.smtp_fallbacks
    ]
    return {f"smtp:{relay.smtp_host}:{relay.smtp_port}": relay for relay in (own, *others)}


def _prepare_email(card: Card, delivery: Delivery, to: str) -> Prepared:
    about = view(card, delivery, to)
    language = words.language_of(delivery.template_id, about.locale)
    message = email.compose(about, delivery.template_id, to, delivery.id, settings())
    return Prepared(email.letter(message, to), language, words.version(delivery.template_id, language))


def _prepare_sms(card: Card, delivery: Delivery, to: str) -> Prepared:
    text = sms.text(view(card, delivery, to), delivery.template_id)
    return Prepared(text.body, text.language, text.version, text.segments)


def _send_sms(_: str, body: str, to: str, delivery: Delivery) -> Accepted:
    return sms.send(body, to, settings(), status_callback=links.status_url(delivery.id, settings()))


def _ask_twilio(card: Card, to: str, since: datetime) -> Accepted | None:
    # The code is in every text about this card and in no other; the rest may read differently by now.
    sid = sms.find(to, codes.decrypt(card.code_encrypted, settings()), since, settings())
    return Accepted(sid, "found by asking") if sid else None


EMAIL = Channel(
    name="email",
    queue="email-delivery",
    address=email_address,
    providers=lambda: list(relays()),
    prepare=_prepare_email,
    send=lambda provider, letter, *_: email.send(letter, relays()[provider]),
    quiet=lambda: settings().email_quiet_hours,
    zones=lambda card, _: [zone(card.time_zone)],
    message_id=lambda delivery: email.message_id(delivery.id, settings()),
)
SMS = Channel(
    name="sms",
    queue="sms-delivery",
    address=phone_number,
    providers=lambda: ["twilio"],
    prepare=_prepare_sms,
    send=_send_sms,
    sender=lambda: settings().twilio_from,
    quiet=lambda: settings().sms_quiet_hours,
    zones=lambda card, number: hours.zones_of(number, card.time_zone),
    check=limits.check,
    ask=_ask_twilio,
)


# What a purchaser reads of why the gift did not arrive; the words are in templates/*/gift_undeliverable.toml.
FOR_PURCHASER = {
    "email:recipient": "email_refused",
    "email:invalid_address": "email_refused",
    "sms:recipient": "sms_refused",
    "sms:invalid_number": "sms_refused",
    "email:no_address": "no_address",
    "sms:no_address": "no_address",
    "email:suppressed": "declined",
    "sms:suppressed": "declined",
    "email:held": "unconfirmed",
    "sms:held": "unconfirmed",
}


def view(card: Card, delivery: Delivery, to: str) -> CardView:
    """Give what a message may say about a card; its code is decrypted only for a template that shows it."""
    return CardView(
        gift_card_id=card.id,
        code=_code(card) if delivery.template_id in rendering.SHOWS_CODE else None,
        code_last4=card.code_last4,
        balance=card.balance,
        currency=card.currency,
        expires_on=card.expires_on,
        locale=card.purchaser_locale if delivery.kind == "notice" else card.locale,
        recipient_name=card.recipient_name,
        sender_name=card.sender_name,
        personal_message=card.personal_message,
        days_left=(card.expires_on - card.now.astimezone(zone(card.time_zone)).date()).days,
        shop_url=settings().shop_url,
        shop_name=settings().shop_name,
        unsubscribe_url=links.unsubscribe_url(delivery.id, to, settings()) if delivery.kind == "reminder" else None,
        reason=FOR_PURCHASER.get(delivery.undelivered_because or ""),
    )


def _code(card: Card) -> str:
    return codes.decrypt(card.code_encrypted, settings())
