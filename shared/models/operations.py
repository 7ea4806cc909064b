"""What operators decide by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, FetchedValue, ForeignKey, Identity, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.table import Base, by_database


class Brake(Base):
    """A sweep that stopped because it would have expired too much, and who released it."""

    __tablename__ = "brakes"

    name: Mapped[str] = mapped_column(primary_key=True)
    pulled_at: Mapped[datetime] = by_database()
    details: Mapped[dict[str, Any]]
    released_at: Mapped[datetime | None]
    released_by: Mapped[str | None]
    reason: Mapped[str | None]


class Audit(Base):
    """Who did what by hand, and why."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = by_database()
    who: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str | None]
    reason: Mapped[str]
    details: Mapped[dict[str, Any]] = by_database()


class InvariantCheck(Base):
    """What the last check of an invariant counted."""

    __tablename__ = "invariant_checks"

    invariant: Mapped[str] = mapped_column(primary_key=True)
    violations: Mapped[int] = mapped_column(BigInteger)
    checked_at: Mapped[datetime] = by_database()
    took_s: Mapped[float]


class LoginAttempts(Base):
    """How often signing in to the console has failed, by login and by address, and until when no more is tried."""

    __tablename__ = "login_attempts"

    key: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime] = by_database()
    locked_until: Mapped[datetime | None]


class Forecast(Base):
    """What will fire on each day to come, as it was last counted; one row."""

    __tablename__ = "forecast"

    single: Mapped[bool] = mapped_column(primary_key=True)
    as_of: Mapped[datetime | None]
    took_s: Mapped[float | None]
    days: Mapped[list[dict[str, Any]]] = by_database()


class WorkerProcess(Base):
    """A worker process that lives, by its own words."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    threads: Mapped[int]
    started_at: Mapped[datetime] = by_database()
    seen_at: Mapped[datetime] = by_database()


class BulkAction(Base):
    """What an operator does to many jobs at once."""

    __tablename__ = "bulk_actions"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    act: Mapped[str]
    run_at: Mapped[datetime | None]
    search: Mapped[dict[str, Any]]
    capped: Mapped[bool] = by_database()
    state: Mapped[str] = by_database()
    per_s: Mapped[int]
    prepared_by: Mapped[str]
    prepared_at: Mapped[datetime] = by_database()
    started_by: Mapped[str | None]
    reason: Mapped[str | None]
    started_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    aborted_by: Mapped[str | None]
    ended_at: Mapped[datetime | None]


class BulkActionItem(Base):
    """One of its jobs, and what came of it."""

    __tablename__ = "bulk_action_items"

    bulk_id: Mapped[UUID] = mapped_column(ForeignKey("bulk_actions.id"), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    refusal: Mapped[str | None]
    result: Mapped[str | None]
    done_at: Mapped[datetime | None]
