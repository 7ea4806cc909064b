"""Every path of one delivery: real rows and real functions, and a provider that does whatever the walk says next."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from services.console import job_acts, resolving
from services.delivery import sending
from services.delivery.channels import EMAIL, SMS, Channel, Prepared
from services.delivery.providers import Accepted, ErrorClass, ProviderError
from services.delivery.reports import inbox
from services.delivery.reports.report import Kind, Report
from services.scheduler.rescue import rescue
from shared import attempt, db
from shared.claims import claim
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope

# What a provider does with a call, and whether it has the message then.
CALLS: dict[str, tuple[bool, ErrorClass | None]] = {
    "accepted": (True, None),
    "accepted, unanswered": (True, ErrorClass.UNKNOWN),
    "lost, unanswered": (False, ErrorClass.UNKNOWN),
    "refused for now": (False, ErrorClass.TRANSIENT),
    "refused for good": (False, ErrorClass.CONTENT),
    "killed before the call": (False, None),
    "killed after it was accepted": (True, None),
}
REPORTS = {"reported delivered": Kind.DELIVERED, "reported failed": Kind.FAILED, "reported bounced": Kind.HARD_BOUNCE}
BY_HAND = ("retried", "resolved as arrived", "cancelled")
LOAD = "INSERT INTO {0} SELECT * FROM jsonb_populate_record(NULL::{0}, %s)"


class Killed(BaseException):
    """End a worker as ``kill -9`` does: nothing catches it."""


@dataclass(frozen=True)
class Node:
    """Where a delivery stands: its rows, how often it was accepted, and the way there."""

    delivery: dict[str, Any] | None
    job: dict[str, Any]
    accepted: int
    path: tuple[str, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """Tell states apart by all that any rule looks at."""
        row = self.delivery or {}
        tried = [(one.get("result"), one.get("resend")) for one in row.get("attempts", [])]
        names = ("state", "reason", "resends", "settled_by")
        job = tuple(self.job[name] for name in ("state", "stalls", "cancel_requested"))
        return (*(row.get(name) for name in names), repr(tried), job, self.accepted)

    @property
    def wrong(self) -> str | None:
        """Say which promise is broken here, if one is."""
        row = self.delivery or {"resends": 0, "attempts": [], "channel": "email"}
        before = row["attempts"][:-1]
        if row["channel"] == "sms" and self.accepted > 1:
            return "a text was accepted twice"
        if self.accepted > 2 or row["resends"] > 1:
            return "sent again more than once"
        if self.accepted == 2 and not any(one.get("result") in (None, "unknown") for one in before):
            return "accepted twice, and nothing was unknown"
        return "accepted twice, and not counted" if self.accepted == 2 and not row["resends"] else None


class Walk:
    """Walk from a job that has just been asked for, breadth first, each state once.

    Parameters:
        connection: one that changes rows as time would, past all triggers.
    """

    def __init__(self, connection: db.Connection, card: UUID, channel: str) -> None:
        self.connection, self.card, self.mail = connection, card, channel == "email"
        self.transitions, self.accepted, self.next = 0, 0, "accepted"
        real = EMAIL if self.mail else SMS
        self.channel: Channel = dataclasses.replace(
            real, providers=lambda: ["it"], prepare=lambda *_: Prepared(b"", "en", "1"), send=self._send,
            ask=None if self.mail else self._ask,
        )  # fmt: skip

    def run(self, depth: int) -> Iterator[Node]:
        """Give each state that is reached within so many steps."""
        start = Node(None, self._asked_for(), 0, ())
        seen, queue = {start.key}, deque([start])
        while queue:
            node = queue.popleft()
            yield node
            for step in self._steps(node) if len(node.path) < depth and not node.wrong else []:
                self._load(node)
                self._do(step)
                self.transitions += 1
                found = Node(self._row("deliveries"), self._row("jobs") or {}, self.accepted, (*node.path, step))
                if found.key not in seen:
                    seen.add(found.key)
                    queue.append(found)

    def _steps(self, node: Node) -> Iterator[str]:
        if node.job["state"] in ("scheduled", "queued"):
            yield from CALLS
        if node.accepted:
            yield from REPORTS
        yield from BY_HAND

    def _asked_for(self) -> dict[str, Any]:
        kind = SendGiftCardEmail if self.mail else SendGiftCardSms
        self.envelope = Envelope(kind(gift_card_id=self.card))
        with db.transaction() as connection:
            connection.execute(
                "SELECT enqueue_job(%s, jsonb_build_object('gift_card_id', %s::text), id => %s)",
                (kind.name, self.card, self.envelope.id),
            )
        return self._row("jobs") or {}

    def _row(self, table: str) -> dict[str, Any] | None:
        found: Any = self.connection.execute(f"SELECT to_jsonb(t) AS row FROM {table} t LIMIT 1".encode()).fetchone()
        return found["row"] if found else None

    def _load(self, node: Node) -> None:
        for table in ("deliveries", "jobs", "provider_events", "suppressions", "events"):
            self.connection.execute(f"DELETE FROM {table}".encode())
        for table, row in (("deliveries", node.delivery), ("jobs", node.job)):
            if row:
                self.connection.execute(LOAD.format(table).encode(), (Jsonb(row),))
        self.accepted = node.accepted

    def _do(self, step: str) -> None:
        if step in CALLS:
            self._attempt(step)
        elif step in REPORTS:
            delivery = self._row("deliveries") or {}
            with db.transaction() as connection:
                provider = "ses" if self.mail else "twilio"
                inbox.receive(connection, Report(provider, uuid4().hex, REPORTS[step], UUID(delivery["id"])))
        else:
            self._by_hand(step)

    def _attempt(self, step: str) -> None:
        self.next = step
        self.connection.execute("UPDATE jobs SET run_at = now() WHERE state = 'scheduled'")
        with db.transaction() as connection:
            job = claim(connection, [self.envelope])[0]
        assert job
        about: Any = {"given": None, "template_id": "gift_card", "delivery_id": None}
        try:
            attempt.run(job, lambda: sending.deliver(job, self.card, self.channel, **about))
        except Killed:
            self.connection.execute("UPDATE jobs SET lease_until = now() - interval '1 second'")
            rescue()

    def _send(self, *_: Any) -> Accepted:
        taken, error = CALLS[self.next]
        self.accepted += taken
        if self.next.startswith("killed"):
            raise Killed
        if error:
            raise ProviderError(error, "code", "said")
        return Accepted(uuid4().hex, "taken")

    def _ask(self, *_: Any) -> Accepted | None:
        return Accepted(uuid4().hex, "found by asking") if self.accepted else None

    def _by_hand(self, step: str) -> None:
        job, delivery = self._row("jobs") or {}, self._row("deliveries")
        with db.transaction() as connection:
            if step == "retried":
                job_acts.act(connection, "retry", [UUID(job["id"])], by="ada", why="looked")
            elif step == "cancelled":
                connection.execute("SELECT cancel_job(%s)", (job["id"],))
            elif delivery and delivery["state"] in ("sending", "unconfirmed"):
                connection.execute(resolving.ARRIVED, (delivery["id"],))
