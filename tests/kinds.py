"""What the fixtures of ``tests/conftest.py`` give, as types."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from dramatiq import Worker

from shared.messages import Message
from shared.wire import Envelope

Row: TypeAlias = dict[str, Any]
JobOf: TypeAlias = Callable[[UUID], Row]
Forsake: TypeAlias = Callable[[], None]
HoldCards: TypeAlias = Callable[[], AbstractContextManager[object]]


class Sql(Protocol):
    def __call__(self, statement: str, *values: object) -> list[Row]: ...


class Setting(Protocol):
    def __call__(self, **values: object) -> None: ...


class Issue(Protocol):
    def __call__(self, balance: str = ..., *, expired: bool = ..., **fields: object) -> UUID: ...


class Ledger(Protocol):
    def __call__(self, card_id: UUID, kind: str = ...) -> list[Decimal]: ...


class Deliver(Protocol):
    def __call__(self, *messages: Message | Envelope) -> list[UUID]: ...


class StartWorker(Protocol):
    def __call__(self, *queues: str) -> Worker: ...


class StartProcess(Protocol):
    def __call__(self, service: str, *, failpoints: str = ..., **env: str) -> subprocess.Popen[str]: ...


class Eventually(Protocol):
    def __call__(self, condition: Callable[[], object], within_s: float = ...) -> None: ...
