"""The tables, for whoever writes to them through SQLAlchemy; ``migrations/`` makes them and holds their rules."""

from shared.models.cards import GiftCard, RefreshToken, Transaction
from shared.models.deliveries import Breaker, Delivery, ProviderEvent, Suppression
from shared.models.jobs import Event, EventSequence, JobKey, JobRow, MessageType, QueueControl, Schedule, Wiretap
from shared.models.operations import (
    Audit,
    Brake,
    BulkAction,
    BulkActionItem,
    Forecast,
    InvariantCheck,
    LoginAttempts,
    WorkerProcess,
)
from shared.models.table import Base

__all__ = [
    "Audit",
    "Base",
    "Brake",
    "Breaker",
    "BulkAction",
    "BulkActionItem",
    "Delivery",
    "Event",
    "EventSequence",
    "Forecast",
    "GiftCard",
    "InvariantCheck",
    "JobKey",
    "JobRow",
    "LoginAttempts",
    "MessageType",
    "ProviderEvent",
    "QueueControl",
    "RefreshToken",
    "Schedule",
    "Suppression",
    "Transaction",
    "Wiretap",
    "WorkerProcess",
]
