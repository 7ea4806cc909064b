"""The shop at work: 20 acts a second through both doors, and a burst of thousands that are due at one instant."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
from cryptography.fernet import Fernet

from deploy.local.demo.people import Person, person
from deploy.local.demo.shop import Shop
from shared.enqueue import cancel, enqueue, reschedule
from shared.errors import PublishError
from shared.messages import (
    CleanupExpiredTokens,
    DeliverGiftCard,
    ExpireGiftCard,
    Message,
    SendExpiryReminder,
    SendGiftCardEmail,
    SendGiftCardSms,
)
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.chaos import canaries, record
from tests.chaos.control import shop as control
from tests.chaos.site import Site

PER_S = 20
Act: TypeAlias = Callable[[UUID], None]
BURST_FROM = 500_000  # whom the burst is for, apart from whom the acts are for


class Front:
    """Act as the shop, in threads, until it is closed.

    Every act is one transaction that also writes down what it asked for; one whose commit nobody answered is looked up
    before it is tried again. What goes over AMQP is published again, under the same id, until the broker confirms it.
    """

    def __init__(self, site: Site, seed: int, *, per_s: float = PER_S) -> None:
        self.site = site
        self._per_s = per_s
        self.dice = random.Random(seed)
        self.phase = "calm"
        self.failure: str | None = None
        self.acts: Counter[str] = Counter()
        self.control = control.Shop(site.control_url)
        self._key = site.env["JOBS_CODE_KEYS"].strip('["]')
        self._closing = threading.Event()
        self._outbox: SimpleQueue[Envelope] = SimpleQueue()
        self._unpublished = 0
        self._number = 0
        self._later: deque[tuple[UUID, Person]] = deque(maxlen=200)
        self._mailed: deque[tuple[float, UUID]] = deque(maxlen=400)
        self._connection = site.connect()
        self._connection.execute(record.TABLES)
        self._shop = Shop(self._connection, self._key, self.dice)
        self._threads = [threading.Thread(target=self._work, name="shop"), threading.Thread(target=self._publish)]

    def open(self) -> None:
        """Begin, with live and expired tokens, and cards that are canaries."""
        self._shop.tokens(expired=500, live=100, revoked=50)
        self._connection.execute(record.LIVE)
        self._once(self._plant)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ask for nothing more, and return once all that was asked for is on its way; a second call does nothing."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self.control.close()

    def burst(self, number: int, in_s: float) -> None:
        """Let so many cards fall due at one instant, so many seconds from now."""
        dice, ids = random.Random(number), [uuid4() for _ in range(number)]
        stories = dice.choices(["email", "sms", "expire"], [3, 1, 2], k=number)
        people = [_person(BURST_FROM + n, dice) for n in range(number)]
        fernet = Fernet(self._key)
        given = {
            "ids": ids,
            "codes": [fernet.encrypt(f"BURST-{n:06}-WXYZ".encode()).decode() for n in range(number)],
            "emails": [to.email for to in people],
            "phones": [to.phone for to in people],
            "stories": stories,
            "at": datetime.now(UTC) + timedelta(seconds=in_s),
        }
        with self.site.connect() as connection:
            connection.execute(record.BURST, given)
        self.acts["burst"] += number
        self.control.burst(number // 10)

    def _work(self) -> None:
        try:
            self._act_on()
        except Exception as error:
            self.failure = repr(error)
            raise

    def _act_on(self) -> None:
        next_at = time.monotonic()
        while not self._closing.is_set():
            name, make = self._choose()
            self._once(make)
            self.acts[name] += 1
            if self.dice.random() < control.PER_S / self._per_s:
                self.control.send()
            next_at = max(next_at + 1 / self._per_s, time.monotonic() - 5)
            self._closing.wait(max(0, next_at - time.monotonic()))

    def _choose(self) -> tuple[str, Act]:
        acts: dict[str, tuple[int, Act]] = {
            "issue": (58, self._issue),
            "issue for later": (15, self._issue_for_later),
            "expire": (10, self._expire),
            "remind": (4, self._remind),
            "cancel": (3, self._cancel),
            "reschedule": (3, self._reschedule),
            "re-address": (4, self._readdress),
            "redeem": (3, self._redeem),
        }
        name = self.dice.choices(list(acts), [weight for weight, _ in acts.values()])[0]
        return name, acts[name][1]

    def _once(self, act: Act) -> None:
        """Do an act exactly once, whatever becomes of the database meanwhile."""
        number, queued = uuid4(), list[Envelope]()
        self._to_publish, state = queued, self.dice.getstate()
        while True:
            try:
                if not self._done(number):
                    queued.clear()
                    self.dice.setstate(state)
                    with self._connection.transaction():
                        act(number)
                break
            except (psycopg.OperationalError, psycopg.InterfaceError):
                with suppress(psycopg.Error):
                    self._connection.close()
                self._connection = self._shop.connection = self.site.connect()
        for envelope in queued:
            self._outbox.put(envelope)

    def _done(self, number: UUID) -> bool:
        return self._connection.execute(record.DONE, (number, number)).fetchone() is not None

    def _someone(self) -> Person:
        self._number += 1
        return _person(self._number, self.dice)

    def _wish(
        self, number: UUID, card: UUID, story: str, to: Person, wants: list[str], due: datetime | None = None
    ) -> None:
        given = {"id": number, "card": card, "story": story, "wants": wants, "email": to.email, "phone": to.phone}
        self._connection.execute(record.WISH, given | {"due_at": due, "phase": self.phase})

    def _ask(self, message: Message, **how: Any) -> None:
        """Take one of the two doors; over AMQP now and then twice, as a client does that heard no answer."""
        if how or self.dice.random() < 0.5:
            enqueue(self._connection, message, source="chaos", **how)
        else:
            envelope = Envelope(message, source="chaos")
            self._to_publish += [envelope] * (2 if self.dice.random() < 0.1 else 1)

    def _issue(self, number: UUID) -> None:
        to, method = self._someone(), self.dice.choices(["email", "sms", "both"], [6, 3, 1])[0]
        card = self._shop.issue(to)
        wants = ["email", "sms"] if method == "both" else [method]
        self._wish(number, card, f"gift by {method}", to, wants)
        direct = {"email": SendGiftCardEmail, "sms": SendGiftCardSms}.get(method)
        if direct and self.dice.random() < 0.4:
            self._ask(direct(gift_card_id=card))
        else:
            self._ask(DeliverGiftCard(gift_card_id=card, method=method))
        if "email" in wants:
            self._mailed.append((time.monotonic(), card))

    def _plant(self, number: UUID) -> None:
        to, others = canaries.fields(self._someone(), self._key)
        card = self._shop.issue(to, **others)
        self._wish(number, card, "canary", to, ["email", "sms"])
        enqueue(self._connection, DeliverGiftCard(gift_card_id=card, method="both"), source="chaos")
        self._to_publish.append(Envelope(CleanupExpiredTokens(), source="chaos"))

    def _issue_for_later(self, number: UUID) -> None:
        to, at = self._someone(), datetime.now(UTC) + timedelta(seconds=self.dice.uniform(4, 15))
        card = self._shop.issue(to)
        self._wish(number, card, "gift for later", to, ["email"], at)
        self._ask(DeliverGiftCard(gift_card_id=card, method="email", deliver_at=at), dedupe_key=f"order:{card}")
        self._later.append((card, to))

    def _expire(self, number: UUID) -> None:
        to = self._someone()
        card = self._shop.issue(to, expires_on=date.today() - timedelta(days=3))
        self._wish(number, card, "expire", to, [])
        self._ask(ExpireGiftCard(gift_card_id=card))
        if self.dice.random() < 0.2:
            self._ask(ExpireGiftCard(gift_card_id=card))
        if self.dice.random() < 0.2:
            self._later.append((card, to))

    def _remind(self, number: UUID) -> None:
        old = [card for since, card in self._mailed if time.monotonic() - since > 20]
        if old:
            card = self.dice.choice(old)
            self._change(number, card, "remind")
            for _ in range(2):
                self._ask(SendExpiryReminder(gift_card_id=card, days_before=7))

    def _change(
        self, number: UUID, card: UUID, what: str, result: str | None = None, was: Person | None = None
    ) -> None:
        address = (was.email, was.phone) if was else (None, None)
        self._connection.execute(record.CHANGE, (number, card, what, result, *address))

    def _picked(self) -> tuple[UUID, Person] | None:
        return self.dice.choice(self._later) if self._later else None

    def _cancel(self, number: UUID) -> None:
        if found := self._picked():
            with suppress(psycopg.errors.NoDataFound), self._connection.transaction():
                self._change(number, found[0], "cancel", cancel(self._connection, f"order:{found[0]}"))

    def _reschedule(self, number: UUID) -> None:
        if found := self._picked():
            at = datetime.now(UTC) + timedelta(seconds=self.dice.uniform(2, 10))
            with suppress(psycopg.errors.NoDataFound), self._connection.transaction():
                result = reschedule(self._connection, f"order:{found[0]}", at)
                self._change(number, found[0], "reschedule", result)
                if result == "moved":
                    self._connection.execute(
                        "UPDATE chaos.wishes SET due_at = %s WHERE card_id = %s AND story = 'gift for later'",
                        (at, found[0]),
                    )

    def _readdress(self, number: UUID) -> None:
        if found := self._picked():
            card, was = found
            to = self._someone()
            self._shop.change(card, "recipient_email = %s, recipient_phone = %s", to.email, to.phone)
            self._change(number, card, "re-address", was=was)
            self._later = deque(((c, to if c == card else p) for c, p in self._later), maxlen=200)

    def _redeem(self, number: UUID) -> None:
        """Spend a card, or extend it, while it may be about to be sent or to expire."""
        if found := self._picked():
            card = found[0]
            row = self._connection.execute("SELECT status FROM gift_cards WHERE id = %s FOR UPDATE", (card,)).fetchone()
            if row and row["status"] == "ACTIVE":
                if self.dice.random() < 0.5:
                    self._shop.redeem(card)
                    self._change(number, card, "redeem")
                else:
                    self._shop.change(card, "expires_on = current_date + 400")
                    self._change(number, card, "extend")

    def _publish(self) -> None:
        with Publisher(self.site.env["JOBS_RABBITMQ_URL"], source="chaos") as publisher:
            waiting: list[Envelope] = []
            while waiting or not self._closing.is_set() or not self._outbox.empty() or self._threads[0].is_alive():
                with suppress(Empty):
                    waiting.append(self._outbox.get(timeout=0.2))
                    while len(waiting) < 500:
                        waiting.append(self._outbox.get_nowait())
                if waiting:
                    with suppress(PublishError):  # the same envelopes again: their ids are the same
                        publisher.send_many(waiting)
                        waiting = []


def _person(number: int, dice: random.Random) -> Person:
    """Make up a person whose address and number nobody else has."""
    made = replace(person(number, dice), email=f"p{number}@example.com", phone=f"+4915{number:09d}")
    return replace(made, locale="de-DE", currency="EUR", zone="Europe/Berlin")
