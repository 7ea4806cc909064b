"""What happens to the demonstration's cards: each story issues some, asks for jobs, and says what must come of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import requests

from deploy.local.demo.people import Person
from deploy.local.demo.upstream import Upstream
from shared.enqueue import cancel, enqueue, reschedule
from shared.messages import (
    CleanupExpiredTokens,
    DeliverGiftCard,
    ExpireDueGiftCards,
    ExpireGiftCard,
    PlanExpiryReminders,
    SendExpiryReminder,
    SendGiftCardEmail,
    SendGiftCardSms,
)
from shared.wire import Envelope

SOON_S = 8
Change = Callable[[], object]


def delivered_now(up: Upstream) -> None:
    """Most gifts: by e-mail, SMS or both, at once; over AMQP, by SQL, and in the seed's own spelling."""
    envelopes = []
    for to in up.people(80):
        card = up.case("by e-mail, now", to, up.shop.issue(to), mails=1)
        envelopes.append(Envelope(DeliverGiftCard(gift_card_id=card, method="email")))
    for to in up.people(40):
        card = up.case("by SMS, now", to, up.shop.issue(to), texts=1)
        envelopes.append(Envelope(SendGiftCardSms(gift_card_id=card, recipient_phone=to.phone)))
    up.send_many(envelopes)
    for to in up.people(30):
        with up.shop.connection.transaction():  # the card and its job are there together, or neither is
            card = up.case("by both, in the card's own transaction", to, up.shop.issue(to), mails=1, texts=1)
            enqueue(up.shop.connection, DeliverGiftCard(gift_card_id=card, method="both"), source="checkout")
    _as_the_seed_does(up)


def _as_the_seed_does(up: Upstream) -> None:
    bodies = []
    for to in up.people(20):
        card = up.case("in the seed's spelling", to, up.shop.issue(to), mails=1)
        data = {"giftCardId": str(card), "recipientEmail": to.email, "templateId": "gift_card"}
        bodies.append(
            {"specversion": "1.0", "id": str(uuid4()), "source": "seed", "type": "send_gift_card_email", "data": data}
        )
    up.publish_raw("email-delivery", [json.dumps(body).encode() for body in bodies])


def delivered_later(up: Upstream) -> list[Change]:
    """Gifts for a moment from now, some of which are changed before it comes. Gives the changes to make meanwhile."""
    at = datetime.now(UTC) + timedelta(seconds=SOON_S)

    def soon(story: str, number: int, **expected: object) -> list[tuple[Person, UUID]]:
        """By SQL, so that the job can be cancelled or moved at once."""
        cards = []
        for to in up.people(number):
            card = up.case(story, to, up.shop.issue(to), not_before=at, **expected)
            message = DeliverGiftCard(gift_card_id=card, method="email", deliver_at=at)
            enqueue(up.shop.connection, message, dedupe_key=f"order:{card}")
            cards.append((to, card))
        return cards

    for to in up.people(30):
        card = up.case("at its time", to, up.shop.issue(to), not_before=at, mails=1)
        up.send(DeliverGiftCard(gift_card_id=card, method="email", deliver_at=at))
    later = datetime.now(UTC) + timedelta(days=30)
    moved = []
    for to in up.people(6):
        moved.append(up.case("moved from next month to now", to, up.shop.issue(to), mails=1))
        message = DeliverGiftCard(gift_card_id=moved[-1], method="email", deliver_at=later)
        enqueue(up.shop.connection, message, dedupe_key=f"order:{moved[-1]}")
    for to in up.people(12):
        card = up.case("at nine on the 25th where she lives", to, up.shop.issue(to))
        wall = datetime(date.today().year + (date.today() > date(date.today().year, 12, 24)), 12, 25, 9)
        up.send(DeliverGiftCard(gift_card_id=card, method="email", deliver_local=wall, deliver_tz=to.zone))
    shop, changes = up.shop, list[Change]()
    changes += [partial(cancel, shop.connection, f"order:{card}") for _, card in soon("order cancelled", 8)]
    changes += [partial(shop.redeem, card) for _, card in soon("redeemed first", 8)]
    changes += [partial(shop.change, card, "status = 'CANCELLED'") for _, card in soon("card cancelled first", 6)]
    changes += [partial(reschedule, shop.connection, f"order:{card}", datetime.now(UTC)) for card in moved]
    return changes + _readdressed(up, soon("re-addressed first", 8, mails=1))


def _readdressed(up: Upstream, cards: list[tuple[Person, UUID]]) -> list[Change]:
    changes: list[Change] = []
    for case, (to, card) in zip(up.cases[-len(cards) :], cards, strict=True):
        case.to = ("new." + to.email,)
        changes.append(partial(up.shop.change, card, "recipient_email = %s", *case.to))
    return changes


def expired(up: Upstream) -> None:
    """Cards whose last day is over: expired one by one and by a sweep; one extended first is not."""
    ids = [up.case("expired", to, up.shop.issue(to, expires_on=_yesterday())) for to in up.people(24)]
    extended = [up.case("extended first", to, up.shop.issue(to, expires_on=_yesterday())) for to in up.people(6)]
    for card in extended:
        up.shop.change(card, "expires_on = %s", date.today() + timedelta(days=90))
    up.send_many(
        [
            *(Envelope(ExpireGiftCard(gift_card_id=card)) for card in ids[:10]),
            *(Envelope(ExpireGiftCard(gift_card_id=card)) for card in ids[:5]),  # asked for twice
            *(Envelope(ExpireGiftCard(gift_card_id=card, expiry_version=1)) for card in extended),
            Envelope(ExpireDueGiftCards()),
        ]
    )


def _yesterday() -> date:
    return date.today() - timedelta(days=3)


def gifts_to_remind_of(up: Upstream) -> list[UUID]:
    """Deliver cards that end in a week; give those to remind of. The last four are then spent."""
    issued = {"expires_on": date.today() + timedelta(days=7), "created_at": datetime.now(UTC) - timedelta(days=60)}
    cards = []
    for number, to in enumerate(up.people(12)):
        story, mails = ("reminded", 2) if number < 8 else ("spent before the reminder", 1)
        cards.append(up.case(story, to, up.shop.issue(to, **issued), mails=mails))
        enqueue(up.shop.connection, SendGiftCardEmail(gift_card_id=cards[-1]))
    return cards


def reminded(up: Upstream, cards: list[UUID]) -> None:
    """Ask for reminders: by the plan and card by card; the key makes one of both."""
    for card in cards[8:]:
        up.shop.redeem(card)
    up.send_many([SendExpiryReminder(gift_card_id=card, days_before=7) for card in cards])
    up.send(PlanExpiryReminders())


def tokens_cleaned(up: Upstream) -> None:
    """Ask twice for today's cleaning; it runs once."""
    up.shop.tokens(expired=2000, live=100, revoked=50)
    up.send_many([CleanupExpiredTokens(), CleanupExpiredTokens()])


def trouble_outside(up: Upstream) -> None:
    """A relay that says 'later', and a Twilio that reports what arrives, but whose answers get lost."""
    statuses = json.dumps({"statuses": ["sent", "delivered"]})
    requests.post(f"{up.outside_url}/callbacks", data=statuses, timeout=10).raise_for_status()
    for to in up.people(3):
        up.misbehave(channel="email", do="refuse", phase="rcpt", code=451, text="4.3.0 try later", to=to.email)
        card = up.case("the relay says later", to, up.shop.issue(to), mails=1)
        up.send(SendGiftCardEmail(gift_card_id=card))
    for to in up.people(3):
        up.misbehave(channel="sms", do="cut", accept=True, to=to.phone)
        card = up.case("Twilio's answer is lost", to, up.shop.issue(to), texts=1)
        up.send(SendGiftCardSms(gift_card_id=card))
    for to in up.people(4):
        card = up.case("ordered twice by a double click", to, up.shop.issue(to), mails=1)
        for _ in range(2):
            enqueue(up.shop.connection, SendGiftCardEmail(gift_card_id=card), dedupe_key=f"click:{card}")


def bad_input(up: Upstream) -> None:
    """Everything that can be wrong: addresses, cards, times, methods, zones, bodies."""
    for to in up.people(4):
        card = up.case("a bad address: by SMS instead", to, up.shop.issue(to, email=f"{to.name}@localhost"), texts=1)
        up.send(SendGiftCardEmail(gift_card_id=card))
        to = up.someone()
        card = up.case("a bad number: by e-mail instead", to, up.shop.issue(to, phone="+1415555"), mails=1)
        up.send(SendGiftCardSms(gift_card_id=card), priority="urgent")
        up.send(DeliverGiftCard(gift_card_id=uuid4(), method="email"))
    to = up.someone()
    card = up.case("a time that cannot be", to, up.shop.issue(to))
    now = datetime.now(UTC)
    for at in (now - timedelta(days=3), now + timedelta(days=500)):
        up.send(DeliverGiftCard(gift_card_id=card, method="email", deliver_at=at))
    good = {"specversion": "1.0", "source": "mistakes", "type": "deliver_gift_card"}
    data = {"gift_card_id": str(card), "method": "email"}
    documents = [
        good | {"id": str(uuid4()), "data": data | {"method": "pigeon"}},
        good | {"id": str(uuid4()), "data": data | {"deliver_local": "2030-12-25T09:00", "deliver_tz": "Mars/Phobos"}},
        good | {"id": str(uuid4()), "data": data | {"gift_card_id": "card-7"}},
        good | {"id": str(uuid4()), "data": data, "type": "deliver_by_dove"},
        good | {"id": str(uuid4()), "data": data | {"note": "x" * 70_000}},
    ]
    up.publish_raw("scheduled-delivery", [b"\xff not JSON", *(json.dumps(d).encode() for d in documents)])
