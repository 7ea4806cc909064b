"""The two ways to a person: what each needs to send a delivery, and to ask what became of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.delivery import codes, email, rendering, sms
from services.delivery.addresses import email_address, phone_number
from services.delivery.deliveries import Delivery
from services.delivery.providers import Accepted
from services.delivery.rendering import CardView
from shared.cards import Card
from shared.settings import settings
from shared.wall_time import zone


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to a person.

    Parameters:
        address: check and normalise a recipient; raises ``Rejected``.
        send: send a delivery to a checked address; raises ``ProviderError``.
        ask: give what the provider has of this delivery since a time, or None; absent where it cannot be asked.
        message_id: name the message for its receiver, the same at every attempt.
    """

    name: str
    address: Callable[[str], str]
    send: Callable[[Card, Delivery, str], Accepted]
    ask: Callable[[Card, Delivery, str, datetime], Accepted | None] | None = None
    message_id: Callable[[Delivery], str | None] = lambda _: None


def _send_email(card: Card, delivery: Delivery, to: str) -> Accepted:
    message = email.compose(view(card, delivery), delivery.template_id, to, delivery.id, settings())
    return email.send(message, to, settings())


def _send_sms(card: Card, delivery: Delivery, to: str) -> Accepted:
    return sms.send(sms.text(view(card, delivery), delivery.template_id).body, to, settings())


def _ask_twilio(card: Card, delivery: Delivery, to: str, since: datetime) -> Accepted | None:
    # The code is in every text about this card and in no other; the rest may read differently by now.
    sid = sms.find(to, codes.decrypt(card.code_encrypted, settings()), since, settings())
    return Accepted(sid, "found by asking") if sid else None


EMAIL = Channel("email", email_address, _send_email, message_id=lambda d: email.message_id(d.id, settings()))
SMS = Channel("sms", phone_number, _send_sms, _ask_twilio)


def view(card: Card, delivery: Delivery) -> CardView:
    """Give what a message may say about a card; its code is decrypted only for a template that shows it."""
    return CardView(
        gift_card_id=card.id,
        code=_code(card) if delivery.template_id in rendering.SHOWS_CODE else None,
        code_last4=card.code_last4,
        balance=card.balance,
        currency=card.currency,
        expires_on=card.expires_on,
        locale=card.locale,
        recipient_name=card.recipient_name,
        sender_name=card.sender_name,
        personal_message=card.personal_message,
        days_left=(card.expires_on - card.now.astimezone(zone(card.time_zone)).date()).days,
        shop_url=settings().shop_url,
        shop_name=settings().shop_name,
    )


def _code(card: Card) -> str:
    return codes.decrypt(card.code_encrypted, settings())
