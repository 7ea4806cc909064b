"""The first screen: every queue as it stands, and what holds things back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from services.console import actions, pace, queries, reading, watching
from services.console.web.screens import Act, act, screen
from shared import db
from shared.messages import QUEUES
from shared.settings import settings

Queue = StrEnum("Queue", {queue.replace("-", "_").upper(): queue for queue in QUEUES})  # type: ignore[misc]


# Above this nobody needs to know how many; the metrics do.
MOST = 1_000


@screen("/", "overview.html")
def overview() -> dict[str, Any]:
    """Count the jobs of each queue up to 1,000, and show the last hour and what is paused, braked or refused."""
    lease = {"lease_s": settings().lease_s}
    with db.transaction() as connection:
        hour = pace.hour(connection)
        workers = {row["queue"]: row["workers"] for row in connection.execute(queries.WORKERS_OF, lease)}
        return {
            "queues": [
                row | {"last_minute": hour["queues"][row["queue"]], "workers": workers.get(row["queue"], 0)}
                for row in reading.queues(connection, MOST)
            ],
            "minutes": hour["minutes"],
            "most": MOST,
            "looked_at": pace.MOST,
            "brakes": connection.execute(queries.BRAKES).fetchall(),
            "breakers": connection.execute(watching.BREAKERS).fetchall(),
        }


class OfQueue(Act):
    """An act on one queue."""

    queue: Queue


class Limit(OfQueue):
    """How many jobs of a queue may start each second, over all workers; without a number, as the settings say."""

    rate_per_s: Annotated[float, Field(gt=0, lt=100_000, allow_inf_nan=False)] | None = None


class OfBreaker(Act):
    """An act on a provider that refuses us."""

    provider: Annotated[str, Field(max_length=200)]


@act
def pause_queue(connection: db.Connection, given: OfQueue, by: str) -> str:
    """Stop a queue: nothing more of it starts, within two seconds; what runs goes on."""
    return actions.pause(connection, given.queue, by=by, why=given.reason)


@act
def resume_queue(connection: db.Connection, given: OfQueue, by: str) -> str:
    """Let a paused queue go on."""
    return actions.resume(connection, given.queue, by=by, why=given.reason)


@act
def limit_queue(connection: db.Connection, given: Limit, by: str) -> str:
    """Limit how many jobs of a queue start each second, from the next job on."""
    return actions.limit(connection, given.queue, given.rate_per_s, by=by, why=given.reason)


@act
def pause_everything(connection: db.Connection, given: Act, by: str) -> str:
    """Stop all queues."""
    for queue in QUEUES:
        actions.pause(connection, queue, by=by, why=given.reason)
    return "all queues are paused: what runs goes on, nothing more starts"


@act
def resume_everything(connection: db.Connection, given: Act, by: str) -> str:
    """Let all paused queues go on."""
    return "; ".join(actions.resume(connection, queue, by=by, why=given.reason) for queue in QUEUES)


@act
def release_brake(connection: db.Connection, given: Act, by: str) -> str:
    """Let the sweep of expiry go on that stopped because it would have done too much."""
    return watching.let_go(connection, "brake", by=by, why=given.reason)


@act
def release_breaker(connection: db.Connection, given: OfBreaker, by: str) -> str:
    """Try a provider again now that refuses us."""
    return watching.let_go(connection, "breaker", given.provider, by=by, why=given.reason)
