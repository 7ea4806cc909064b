"""What a card and a job are, in plain Python: the rules of the system written down once more, without a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

FINAL = ("succeeded", "skipped", "failed", "rejected", "cancelled")
MAX_STALLS = 3


@dataclass
class Card:
    """A card and its ledger. ``due``: its last day is over. ``held``: its gift reached nobody."""

    id: UUID
    balance: Decimal
    status: str = "ACTIVE"
    due: bool = False
    held: bool = False
    expiry_version: int = 1
    recipient_version: int = 1
    ledger: list[Decimal] = field(default_factory=list)

    def book(self, amount: Decimal) -> None:
        """Book an amount."""
        self.ledger.append(amount)
        self.balance += amount

    @property
    def ended(self) -> bool:
        """Say whether nothing may be sent about it any more."""
        return self.status != "ACTIVE" or self.due or not self.balance

    def expire(self, *, unreached: bool, version: int | None = None) -> str:
        """Expire it if its time has come. Returns how the job ends."""
        if self.status == "ACTIVE" and self.due and unreached and self.balance and not self.held:
            self.held = True
        if self.status != "ACTIVE" or version not in (None, self.expiry_version) or not self.due or self.held:
            return "skipped"
        self.book(-self.balance)
        self.status = "EXPIRED"
        return "succeeded"


@dataclass
class Job:
    """A job. ``due``: its time has come. ``late``: its ``not_after`` has passed."""

    id: UUID
    name: str
    card: Card | None = None
    version: int | None = None
    state: str = "scheduled"
    due: bool = True
    late: bool = False
    attempt: int = 0
    epoch: int = 0
    stalls: int = 0
    cap: int = 4
    cancelling: bool = False
    plan: str = "succeeded"

    @property
    def claimable(self) -> bool:
        """Say whether a worker that has its message may take it."""
        return self.state == "queued" or (self.state == "scheduled" and self.due)

    def claim(self) -> bool:
        """Take it. Returns whether there is work to do."""
        if not self.claimable:
            return False
        self.attempt += 1
        self.epoch += 1
        self.state = "skipped" if self.late else "running"
        return not self.late

    def end(self, outcome: str) -> None:
        """End a run: with an outcome, ``transient`` (an attempt is burnt) or ``later`` (none is)."""
        if outcome in ("transient", "later"):
            self.due = False
            self.attempt -= outcome == "later"
            self.state = "cancelled" if self.cancelling else "scheduled"
            if outcome == "transient" and self.attempt >= self.cap:
                self.state = "failed"
        else:
            self.state = "cancelled" if self.cancelling and outcome == "succeeded" else outcome

    def stall(self) -> None:
        """Lose its worker, and be found."""
        self.stalls += 1
        self.due = True
        given_up = self.stalls >= MAX_STALLS or self.attempt >= self.cap
        self.state = "cancelled" if self.cancelling else "failed" if given_up else "scheduled"

    def cancel(self) -> str:
        """Cancel it. Returns what the one who asks is told."""
        if self.state == "running":
            self.cancelling = True
            return "cancelling"
        if self.state in FINAL:
            return "too_late"
        self.state = "cancelled"
        return "cancelled"

    def move(self, *, now: bool) -> str:
        """Move it. Returns what the one who asks is told."""
        if self.state not in ("scheduled", "queued"):
            return "too_late"
        self.state, self.due = "scheduled", now
        return "moved"

    def retry(self) -> None:
        """Run it again, by hand, with a renewed number of attempts."""
        if self.state == "failed" or (self.state == "rejected" and self.attempt):
            self.cap = self.attempt + (7 if self.name == "send_gift_card_email" else 4)
            self.state, self.due, self.stalls, self.cancelling = "scheduled", True, 0, False
