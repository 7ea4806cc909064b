"""What cleanup tests share: a token and a finished job of any age, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID, uuid4

import pytest

import services.cleanup.actors  # noqa: F401  # registers the actors
from tests.kinds import Sql

Token: TypeAlias = Callable[..., UUID]
Finished: TypeAlias = Callable[..., UUID]

# No tick falls into a test: what runs is what the test asked for.
NO_TIMETABLE = (
    '{"cleanup_expired_tokens": {"cron": "0 0 29 2 *"}, "expire_due_gift_cards": {"cron": "0 0 29 2 *"},'
    ' "plan_expiry_reminders": {"cron": "0 0 29 2 *"}, "prune_history": {"cron": "0 0 29 2 *"},'
    ' "check_invariants": {"cron": "0 0 29 2 *"}}'
)


@pytest.fixture
def service() -> str:
    """Run as this service's own role."""
    return "cleanup"


@pytest.fixture
def token(sql: Sql) -> Token:
    """Sign somebody in: ``token("-25 hours", revoked=True, parent=other)`` expired 25 hours ago."""

    def sign_in(expires: str, *, revoked: bool = False, parent: UUID | None = None) -> UUID:
        token_id = uuid4()
        sql(
            "INSERT INTO refresh_tokens (id, user_id, parent_id, token_hash, expires_at, revoked_at) VALUES"
            " (%s, gen_random_uuid(), %s, gen_random_uuid(), clock_timestamp() + %s::interval,"
            " CASE WHEN %s THEN clock_timestamp() - interval '100 days' END)",
            token_id,
            parent,
            expires,
            revoked,
        )
        return token_id

    return sign_in


@pytest.fixture
def finished(sql: Sql) -> Finished:
    """Leave a job behind that ended so long ago: ``finished("2 hours", "failed", key="k")``."""

    def end(age: str, state: str = "succeeded", queue: str = "gift-card-expiry", key: str | None = None) -> UUID:
        [row] = sql("SELECT enqueue_job('expire_due_gift_cards', dedupe_key => %s) AS id", key)
        sql(
            "UPDATE jobs SET state = %s, queue = %s, finished_at = clock_timestamp() - %s::interval WHERE id = %s",
            state,
            queue,
            age,
            row["id"],
        )
        return UUID(str(row["id"]))

    return end
