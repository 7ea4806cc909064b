"""Cards and jobs live random lives on real rows; after every step they are what a model in plain Python says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared import db, jobs
from shared.enqueue import cancel, enqueue, reschedule
from shared.jobs import Job as Run
from shared.messages import DeliverGiftCard, ExpireDueGiftCards, ExpireGiftCard, Message, PruneHistory
from shared.wire import Envelope, decode
from tests.kinds import Issue, Sql
from tests.properties.model import Card, Job
from tests.properties.world import World, catching

# More of it: HYPOTHESIS_PROFILE=long .venv/bin/python -m pytest tests/properties
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
BOUNDS = settings(
    max_examples=1000 if LONG else 50,
    stateful_step_count=100 if LONG else 40,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
)
PLANS = st.sampled_from(["succeeded", "skipped", "transient", "later", "failed"])
KINDS = st.sampled_from(["expire", "expire this version", "deliver", "prune"])
KEYS = st.sampled_from([None, None, "a", "b"])
PICK = st.integers(0, 10**6)
LATER = timedelta(days=30)
FENCE = "AND epoch = %(epoch)s AND state = 'running'"


class Lives(RuleBasedStateMachine):
    """Cards, jobs, messages and time, and whatever they may meet."""

    world: World
    card: Issue

    @initialize(balance=st.integers(1, 99))
    def begin(self, balance: int) -> None:
        self.cards: list[Card] = []
        self.jobs: dict[UUID, Job] = {}
        self.keys: dict[str, tuple[UUID, str]] = {}
        self.runs: list[tuple[Run, Envelope, int]] = []
        self.issue(balance)

    @rule(balance=st.integers(1, 99))
    @precondition(lambda self: len(self.cards) < 3)
    def issue(self, balance: int) -> None:
        amount = Decimal(balance)
        card_id = self.card(f"{amount}", recipient_phone=None, recipient_email=f"{uuid4().hex}@example.com")
        self.cards.append(Card(card_id, amount, ledger=[amount]))

    @rule(which=PICK, percent=st.sampled_from([50, 100]))
    def redeem(self, which: int, percent: int) -> None:
        card = self.cards[which % len(self.cards)]
        amount = (card.balance * percent / 100).quantize(Decimal("0.01"))
        if card.status != "ACTIVE" or not amount:
            return
        self.world.book(card.id, "REDEEM", -amount)
        card.book(-amount)
        card.status = "ACTIVE" if card.balance else "REDEEMED"

    @rule(which=PICK)
    def cancel_card(self, which: int) -> None:
        card = self.cards[which % len(self.cards)]
        if card.status == "ACTIVE":
            self.world.book(card.id, "CANCEL", -card.balance)
            card.book(-card.balance)
            card.status = "CANCELLED"

    @rule(which=PICK, days=st.integers(400, 800))
    def extend(self, which: int, days: int) -> None:
        card = self.cards[which % len(self.cards)]
        if card.status != "ACTIVE":
            return
        day = date.today() + timedelta(days=days + card.expiry_version * 1000)
        self.world.sql("UPDATE gift_cards SET expires_on = %s WHERE id = %s", day, card.id)
        card.due, card.held, card.expiry_version = False, False, card.expiry_version + 1

    @rule(which=PICK)
    def change_recipient(self, which: int) -> None:
        card = self.cards[which % len(self.cards)]
        address = f"{uuid4().hex}@example.com"
        self.world.sql("UPDATE gift_cards SET recipient_email = %s WHERE id = %s", address, card.id)
        card.recipient_version += 1

    @rule(which=PICK)
    def let_a_last_day_pass(self, which: int) -> None:
        card = self.cards[which % len(self.cards)]
        self.world.expire_day(card.id)
        card.due = True
        for job in self.jobs.values():
            job.late = job.late or (job.card is card and job.name == "send_gift_card_email")

    @rule()
    def let_all_times_come(self) -> None:
        self.world.await_all()
        for job in self.jobs.values():
            job.due = True

    @rule(kind=KINDS, which=PICK, key=KEYS, later=st.booleans(), plan=PLANS)
    def ask_in_sql(self, kind: str, which: int, key: str | None, later: bool, plan: str) -> None:
        message, card = self._message(kind, which)
        at = datetime.now(UTC) + LATER if later else None

        def ask() -> UUID:
            with db.transaction() as connection:
                return enqueue(connection, message, run_at=at, dedupe_key=key)

        found = catching(ask)

        held = self.keys.get(key or "")
        if held:
            assert found == (held[0] if held[1] == self._print(message) else None)
            return
        self._know(found, message, card, key, plan, due=not later)

    @rule(kind=KINDS, which=PICK, key=KEYS, later=st.booleans(), plan=PLANS)
    def ask_over_amqp(self, kind: str, which: int, key: str | None, later: bool, plan: str) -> None:
        message, card = self._message(kind, which)
        at = datetime.now(UTC) + LATER if later else None
        envelope = Envelope(message, run_at=at, dedupe_key=key)
        self.world.broker.bodies.append(envelope.encode())
        if key in self.keys:
            self.world.deliver(envelope.encode())  # nothing comes of it
            return
        job = self._know(envelope.id, message, card, key, plan, due=not later)
        job.epoch = int(later)  # it is parked by a claim
        if job.due:
            self._expect(job)
        elif kind == "deliver" and card and card.due:
            job.state = "rejected"  # it can be seen now that it will come too late
        self.world.deliver(envelope.encode())

    @rule(refusing=st.booleans())
    def relay(self, refusing: bool) -> None:
        self.world.broker.refusing = refusing
        self.world.relay.publish_due()
        for job in [] if refusing else self.jobs.values():
            if job.state == "scheduled" and job.due:
                job.state = "queued"

    @rule(which=PICK)
    @precondition(lambda self: self.world.broker.bodies)
    def deliver(self, which: int) -> None:
        """Deliver any message, the first time or once more."""
        body = self.world.broker.bodies[which % len(self.world.broker.bodies)]
        if job := self.jobs.get(decode(body).id):
            self._expect(job)
        self.world.deliver(body)

    @rule()
    def publish_and_deliver(self) -> None:
        """Let all that is due go its way, and what comes of it, too."""
        for _ in range(2):
            before = len(self.world.broker.bodies)
            self.relay(refusing=False)
            for body in self.world.broker.bodies[before:]:
                self._expect(self.jobs[decode(body).id])
                self.world.deliver(body)
            self._adopt()

    @rule(which=PICK, act=st.sampled_from(["cancel", "move", "pass", "redeem"]))
    def hand_over_and_interfere(self, which: int, act: str) -> None:
        """Get a mail as far as the table, and change one's mind."""
        self.ask_in_sql(kind="deliver", which=which, key=None, later=False, plan="succeeded")
        self.relay(refusing=False)
        body = self.world.broker.bodies[-1]
        if job := self.jobs.get(decode(body).id):
            self._expect(job)
        self.world.deliver(body)
        self._adopt()
        last = len(self.jobs) - 1
        match act:
            case "cancel":
                self.cancel_job(last)
            case "move":
                self.move_job(last, now=False)
            case "pass":
                self.let_a_last_day_pass(which)
            case "redeem":
                self.redeem(which, 100)

    @rule(which=PICK)
    @precondition(lambda self: self.world.broker.bodies)
    def take_and_be_silent(self, which: int) -> None:
        envelope = decode(self.world.broker.bodies[which % len(self.world.broker.bodies)])
        job = self.jobs.get(envelope.id)
        if job is None:
            return
        run, works = self.world.claim(envelope), job.claim()
        assert works == (run is not None and run.state == "running")
        if run and works:
            self.runs.append((run, envelope, job.epoch))

    @rule(which=PICK)
    @precondition(lambda self: self.runs)
    def wake_up(self, which: int) -> None:
        """Let a silent worker go on: in time, or long after somebody else has its job."""
        run, envelope, epoch = self.runs.pop(which % len(self.runs))
        job = self.jobs[run.id]
        if mine := job.state == "running" and job.epoch == epoch:
            self._run(job)
        assert (self.world.finish(run, envelope) == "stale") == (not mine)

    @rule()
    def lapse(self) -> None:
        self.world.lapse()
        for job in self.jobs.values():
            if job.state == "running":
                job.stall()

    @rule()
    def lose_the_broker(self) -> None:
        self.world.lose_the_broker()
        for job in self.jobs.values():
            if job.state == "queued":
                job.state = "scheduled"

    @rule(which=PICK)
    @precondition(lambda self: self.jobs)
    def cancel_job(self, which: int) -> None:
        job = list(self.jobs.values())[which % len(self.jobs)]
        with db.transaction() as connection:
            assert cancel(connection, job.id) == job.cancel()

    @rule(which=PICK, now=st.booleans())
    @precondition(lambda self: self.jobs)
    def move_job(self, which: int, now: bool) -> None:
        job = list(self.jobs.values())[which % len(self.jobs)]
        with db.transaction() as connection:
            at = datetime.now(UTC) + (timedelta() if now else LATER)
            assert reschedule(connection, job.id, at) == job.move(now=now)

    @rule(which=PICK, plan=PLANS)
    @precondition(lambda self: self.jobs)
    def retry_by_hand(self, which: int, plan: str) -> None:
        job = list(self.jobs.values())[which % len(self.jobs)]
        self.world.plans[job.id] = job.plan = plan
        self.world.retry(job.id)
        job.retry()

    @rule()
    @precondition(lambda self: any(card.due for card in self.cards))
    def sweep(self) -> None:
        for card in self.cards:
            card.expire(unreached=self.world.unreached(card.id))
        self.world.deliver(Envelope(ExpireDueGiftCards()).encode())
        assert self.world.broken() == {}

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        if not hasattr(self, "cards"):
            return
        self._adopt()
        rows = {row["id"]: row for row in self.world.sql("SELECT * FROM jobs")}
        for job in self.jobs.values():
            row = rows[job.id]
            assert (job.state, job.attempt, job.epoch, job.stalls, job.cancelling) == (
                row["state"], row["attempt"], row["epoch"], row["stalls"], row["cancel_requested"],
            ), f"{row['name']}: {row['reason']} {row['error']}"  # fmt: skip
        for card in self.cards:
            self._compare(card)
        assert len(set(self.world.mails)) == len(self.world.mails)
        assert self.world.broken("I5") == {}

    def _compare(self, card: Card) -> None:
        [row] = self.world.sql("SELECT * FROM gift_cards WHERE id = %s", card.id)
        entries = self.world.sql("SELECT amount FROM transactions WHERE gift_card_id = %s ORDER BY sequence", card.id)
        assert [entry["amount"] for entry in entries] == card.ledger
        assert (row["status"], row["balance"], row["expiry_version"], row["recipient_version"]) == (
            card.status, card.balance, card.expiry_version, card.recipient_version,
        )  # fmt: skip
        assert (row["expiry_hold"] == "unreached") == card.held

    def _message(self, kind: str, which: int) -> tuple[Message, Card | None]:
        card = self.cards[which % len(self.cards)]
        if kind == "prune":
            return PruneHistory(), None
        if kind == "deliver":
            return DeliverGiftCard(gift_card_id=card.id, method="email"), card
        version = card.expiry_version if kind.endswith("version") else None
        return ExpireGiftCard(gift_card_id=card.id, expiry_version=version), card

    def _print(self, message: Message) -> str:
        return f"{message.name} {message.model_dump_json(exclude_none=True)}"

    def _know(self, job_id: UUID, message: Message, card: Card | None, key: str | None, plan: str, *, due: bool) -> Job:
        job = self.jobs[job_id] = Job(
            job_id, message.name, card, getattr(message, "expiry_version", None), due=due, plan=plan
        )
        self.world.plans[job_id] = plan
        if key:
            self.keys[key] = (job_id, self._print(message))
        return job

    def _adopt(self) -> None:
        """Learn of the jobs that a hand-off has made."""
        for row in self.world.sql("SELECT id, name, gift_card_id FROM jobs WHERE name LIKE 'send_%%'"):
            if row["id"] not in self.jobs:
                [card] = [card for card in self.cards if card.id == row["gift_card_id"]]
                self.jobs[row["id"]] = Job(row["id"], row["name"], card, cap=7)

    def _expect(self, job: Job) -> None:
        if job.claim():
            self._run(job)

    def _run(self, job: Job) -> None:
        """Say how the run of a job that has begun will end."""
        job.end(self._outcome(job))

    def _outcome(self, job: Job) -> str:
        card = job.card
        if card is None:
            return job.plan
        if job.name == "expire_gift_card":
            kept = vars(card) | {"ledger": [*card.ledger]}
            outcome = card.expire(unreached=self.world.unreached(card.id), version=job.version)
            if job.cancelling and outcome == "succeeded":
                vars(card).update(kept)  # nothing of a run is kept that is cancelled before it commits
            return outcome
        return self._of_a_delivery(job, card)

    def _of_a_delivery(self, job: Job, card: Card) -> str:
        if job.cancelling and job.name == "send_gift_card_email":
            return "succeeded"  # it is cancelled at its first step
        key = f"gift:{card.id}:r{card.recipient_version}:email"
        found: list[dict[str, Any]] = self.world.sql("SELECT * FROM deliveries WHERE dedupe_key = %s", key)
        if card.ended:
            return "skipped"
        if job.name == "deliver_gift_card":
            mine = not found or (found[0]["job_id"] == job.id and found[0]["state"] in ("scheduled", "queued"))
            return "succeeded" if mine else "skipped"
        return self._of_a_mail(job, card, found)

    def _of_a_mail(self, job: Job, card: Card, found: list[dict[str, Any]]) -> str:
        [row] = self.world.sql("SELECT data ->> 'delivery_id' AS delivery FROM jobs WHERE id = %s", job.id)
        [named] = self.world.sql("SELECT * FROM deliveries WHERE id = %s", row["delivery"])
        moved = named["recipient_version"] != card.recipient_version
        if moved and named["state"] in ("scheduled", "queued"):
            named = found[0] if found else {"state": "queued"}
            moved = False
        return "skipped" if moved or named["state"] in ("sent", "delivered") else "succeeded"


@pytest.fixture
def lives(sql: Sql, card: Issue, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Lives]]:
    """Give the machine with a world to live in."""
    with db.connect(autocommit=True) as clock:
        clock.execute("SET session_replication_role = replica")

        class OneLife(Lives):
            def __init__(self) -> None:
                super().__init__()
                self.world, self.card = World(sql, clock, monkeypatch), card

        yield OneLife


@pytest.mark.timeout(0 if LONG else 300)  # a minute when nothing else runs
def test_lives_go_as_the_model_says(lives: type[Lives]) -> None:
    run_state_machine_as_test(lives, settings=BOUNDS)


# The controls take their steps by hand: whether chance finds them is nothing that a test may stand on.
@pytest.mark.parametrize("fenced", [True, False])
def test_the_model_notices_a_worker_that_writes_although_it_lost_its_job(
    fenced: bool, lives: type[Lives], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FINISH", "AGAIN"):
        statement = getattr(jobs, name)
        assert FENCE in statement
        if not fenced:
            monkeypatch.setattr(jobs, name, statement.replace(FENCE, ""))
    life = lives()
    life.begin(balance=25)
    life.ask_in_sql(kind="prune", which=0, key=None, later=False, plan="succeeded")
    life.relay(refusing=False)
    life.take_and_be_silent(0)
    life.lapse()

    with nullcontext() if fenced else pytest.raises(AssertionError):
        life.wake_up(0)
        life.rows_are_what_the_model_says()


@pytest.mark.parametrize("dropped", [None, "jobs_delivery_not_sent"])
def test_the_model_notices_a_mail_that_is_left_behind_by_its_cancelled_job(
    dropped: str | None, lives: type[Lives], sql: Sql
) -> None:
    life = lives()
    life.begin(balance=25)
    if dropped:
        sql(f"DROP TRIGGER {dropped} ON jobs")

    life.hand_over_and_interfere(0, "cancel")

    with pytest.raises(AssertionError, match="I8") if dropped else nullcontext():
        life.rows_are_what_the_model_says()


@pytest.mark.parametrize("dropped", [None, "jobs_delivery_not_handed_over"])
def test_the_model_notices_a_gift_that_is_left_behind_by_its_cancelled_job(
    dropped: str | None, lives: type[Lives], sql: Sql
) -> None:
    life = lives()
    life.begin(balance=25)
    if dropped:
        sql(f"DROP TRIGGER {dropped} ON jobs")

    life.ask_in_sql(kind="deliver", which=0, key=None, later=True, plan="succeeded")
    life.cancel_job(0)

    with pytest.raises(AssertionError, match="I8") if dropped else nullcontext():
        life.rows_are_what_the_model_says()
