"""The real thing that is compared with the model: rows, the functions that change them, and a broker made of a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import services.cleanup.actors
import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from services.console import job_acts
from services.delivery import channels
from services.delivery.channels import Prepared
from services.delivery.providers import Accepted
from services.scheduler.relay import Relay
from services.scheduler.rescue import rescue
from shared import actor, attempt, db
from shared.claims import claim
from shared.errors import PermanentError, RetryLater, Transient
from shared.invariants import violations
from shared.jobs import Job
from shared.messages import PruneHistory
from shared.packets import Packet
from shared.wire import Envelope, decode
from tests.kinds import Row, Sql

TABLES = "audit, deliveries, events, jobs, job_keys, transactions, gift_cards, brakes, provider_events, suppressions"
BOOK = """
WITH c AS (
    UPDATE gift_cards SET balance = balance + %(amount)s, ledger_sequence = ledger_sequence + 1,
        status = CASE WHEN %(kind)s = 'CANCEL' THEN 'CANCELLED' WHEN balance + %(amount)s = 0 THEN 'REDEEMED'
            ELSE status END
    WHERE id = %(card)s RETURNING *
)
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
    idempotency_key)
SELECT id, ledger_sequence, %(kind)s, currency, %(amount)s, balance - %(amount)s, balance, id || ':' || ledger_sequence
FROM c
"""


class Broker:
    """Hold what the relay publishes: a list that may be read in any order, as often as one likes."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.refusing = False

    def begin(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Confirm each at once, or none."""
        for packet in [] if self.refusing else packets:
            packet.error = None
            self.bodies.append(packet.body)
        return packets

    def wait(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Give what has been decided."""
        return packets


class World:
    """Do to rows what the rules of the test say.

    Parameters:
        clock: a connection that changes rows as time would, past all triggers.
        plans: how the next run of a ``prune_history`` ends, by job.
        mails: card and recipient version of each mail that was accepted.
    """

    def __init__(self, sql: Sql, clock: db.Connection, patch: pytest.MonkeyPatch) -> None:
        self.sql, self.clock, self.broker = sql, clock, Broker()
        self.relay = Relay(self.broker)  # type: ignore[arg-type]  # all that it needs
        self.plans: dict[UUID, str] = {}
        self.mails: list[tuple[UUID, int]] = []
        patch.setitem(actor.FUNCTIONS, PruneHistory.name, self._as_planned)
        fake = dataclasses.replace(
            channels.EMAIL, providers=lambda: ["relay"], prepare=lambda *_: Prepared(b"", "en", "1"), send=self._send
        )
        patch.setattr(channels, "EMAIL", fake)
        for table in TABLES.split(", "):
            clock.execute(f"DELETE FROM {table}".encode())

    def _as_planned(self, _: object, job: Job) -> attempt.Outcome:
        match self.plans.get(job.id, "succeeded"):
            case "skipped":
                return attempt.Skipped("nothing_due")
            case "transient":
                raise Transient("planned")
            case "later":
                raise RetryLater("planned", after_s=60)
            case "failed":
                raise PermanentError("planned")
        return None

    def _send(self, _: str, __: object, ___: str, delivery: Any) -> Accepted:
        [row] = self.sql("SELECT gift_card_id, recipient_version FROM deliveries WHERE id = %s", delivery.id)
        self.mails.append((row["gift_card_id"], row["recipient_version"]))
        return Accepted(uuid4().hex, "taken")

    def book(self, card: UUID, kind: str, amount: Decimal) -> None:
        """Book as the shop does."""
        with db.transaction() as connection:
            connection.execute(BOOK, {"card": card, "kind": kind, "amount": amount})

    def expire_day(self, card: UUID) -> None:
        """Let a card's last day pass, and with it the time of what depends on it."""
        day = "clock_timestamp() - interval '1 day'"
        self.clock.execute(f"UPDATE gift_cards SET expires_at = {day} WHERE id = %s", (card,))
        late = f"UPDATE jobs SET not_after = {day} WHERE gift_card_id = %s AND not_after IS NOT NULL"
        self.clock.execute(late.encode(), (card,))

    def await_all(self) -> None:
        """Let the time of every job come."""
        self.clock.execute("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'scheduled' AND run_at > now()")

    def lapse(self) -> None:
        """Let every worker be silent for longer than its lease, and be found out."""
        self.clock.execute("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'")
        rescue()

    def lose_the_broker(self) -> None:
        """Let the broker forget everything, and that be noticed."""
        self.broker.bodies.clear()
        self.clock.execute("UPDATE jobs SET queued_at = now() - interval '1 day' WHERE state = 'queued'")
        rescue()

    def retry(self, job: UUID) -> None:
        """Retry by hand."""
        with db.transaction() as connection:
            job_acts.act(connection, "retry", [job], by="ada", why="relay was down")

    def deliver(self, body: bytes) -> None:
        """Let a worker read a body."""
        actor.run([decode(body)])

    def claim(self, envelope: Envelope) -> Job | None:
        """Let a worker take a job, and then be silent."""
        with db.transaction() as connection:
            return claim(connection, [envelope])[0]

    def finish(self, job: Job, envelope: Envelope) -> str:
        """Let a worker that has taken a job go on."""
        return attempt.run(job, lambda: actor.FUNCTIONS[job.name](envelope.message, job))[0]

    def unreached(self, card: UUID) -> bool:
        """Say whether a gift was to be delivered and reached nobody."""
        rows = self.sql("SELECT state FROM deliveries WHERE gift_card_id = %s AND kind = 'gift'", card)
        return bool(rows) and not {row["state"] for row in rows} & {"sent", "delivered", "unconfirmed", "sending"}

    def broken(self, *but: str) -> dict[str, int]:
        """Give the invariants that do not hold."""
        with db.transaction() as connection:
            found = violations(connection)
        return {name: n for name, n in found.items() if n and name.split()[0] not in but}


def catching(function: Callable[[], Any]) -> Any:
    """Give what a function returns, or None if the database refuses it for its key."""
    try:
        return function()
    except psycopg.errors.UniqueViolation:
        return None


def states(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    """Give columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]
