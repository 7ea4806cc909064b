"""The connections of this process to PostgreSQL, whose clock is the only one that decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
import stamina
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.settings import settings

Connection: TypeAlias = psycopg.Connection[DictRow]
T = TypeVar("T")

# What says that the database is away or that two transactions met, and nothing about the work itself.
AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process stood still for so long that it was parted from
    PoolTimeout,
)
TOO_LONG = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)  # psycopg counts them as operational, too
MET = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)

# The relay waits for the broker's confirms in a transaction, for up to 10 s.
LEAST_IDLE_S = 15

stopping = threading.Event()
_pool: ConnectionPool[Connection] | None = None
_lock = threading.Lock()


class Stopping(Exception):
    """Say that this process is ending, so what waits for the database is given back."""


def open_pool(size: int) -> ConnectionPool[Connection]:
    """Open this process's pool for ``size`` threads and one more. Call it after any fork."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ConnectionPool(
                settings().database_url.get_secret_value(),
                min_size=1,
                max_size=size + 1,
                timeout=2,
                kwargs={"row_factory": dict_row, "options": _session_options(), "application_name": "giftcard-jobs"},
                open=True,
            )
        return _pool


def _session_options() -> str:
    timeout_ms = int(settings().statement_timeout_s * 1000)
    # A process that stands still in a transaction holds its locks: no longer than it would hold a job.
    idle_ms = int(max(settings().lease_s, LEAST_IDLE_S) * 1000)
    # Compiling a statement of ours (jit) can take seconds, running it never does.
    waits = f"-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={idle_ms}"
    return f"{waits} -c timezone=UTC -c jit=off"


def close_pool() -> None:
    """Close this process's pool, if it has one."""
    global _pool
    with _lock:
        if _pool is not None:
            _pool.close()
            _pool = None


def pool_stats() -> dict[str, int]:
    """Say how this process's pool is used, in psycopg_pool's names; nothing without one."""
    return _pool.get_stats() if _pool else {}


@contextmanager
def transaction() -> Iterator[Connection]:
    """Give a connection in a transaction of its own: committed at the end, rolled back on any error.

    Raises:
        psycopg_pool.PoolTimeout: when no connection comes free within 2 s.
    """
    with (_pool or open_pool(4)).connection() as connection:
        yield connection


@contextmanager
def autocommit() -> Iterator[Connection]:
    """Give a connection that commits each statement at once: its locks end on the server, even if this process stops.

    Raises:
        psycopg_pool.PoolTimeout: when no connection comes free within 2 s.
    """
    with (_pool or open_pool(4)).connection() as connection:
        connection.autocommit = True
        try:
            yield connection
        finally:
            if not connection.closed:
                connection.autocommit = False


def connect(url: str | None = None, **options: Any) -> Connection:
    """Open a connection outside the pool, for ``LISTEN`` and the like. The caller closes it.

    Parameters:
        url: of another database, such as a replica; None: the one of the settings.
    """
    return psycopg.connect(
        url or settings().database_url.get_secret_value(), row_factory=dict_row, options=_session_options(), **options
    )


def persist(work: Callable[[], T]) -> T:
    """Do what must be written down, again and again while the database is away, until this process is to stop.

    Raises:
        Stopping: when the process is to stop before the database is back.
    """
    for attempt in stamina.retry_context(on=(*AWAY, *MET), attempts=None, timeout=None, wait_initial=0.05, wait_max=2):
        with attempt:
            if attempt.num > 1 and stopping.is_set():
                raise Stopping
            return work()
    raise AssertionError("unreachable: the loop above ends only by returning or raising")
