"""What console tests share: the command line in this process, and a job in any state in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from services.console.cli import app
from tests import servers
from tests.kinds import Setting, Sql

Cli: TypeAlias = Callable[..., Result]
Read: TypeAlias = Callable[..., Any]
Made: TypeAlias = Callable[..., UUID]
Sent: TypeAlias = Callable[..., UUID]
TRIED = {"at": "2026-11-24T08:00:01+00:00", "result": "unknown", "code": "no_reply", "provider": "smtp:relay:587"}


@pytest.fixture
def cli(database: str, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> Cli:
    """Type a command: ``cli("jobs", "--state", "failed")`` gives exit code and output. It has the console's role."""
    monkeypatch.setenv("COLUMNS", "250")
    console = servers.as_service(database, "console")

    def typed(*words: object, answer: str | None = None) -> Result:
        others = os.environ["JOBS_DATABASE_URL"]
        setting(database_url=console if others == database else others)
        try:
            return CliRunner().invoke(app, [str(word) for word in words], input=answer)
        finally:
            setting(database_url=others)

    return typed


@pytest.fixture
def read(cli: Cli) -> Read:
    """Type a command with ``--json``, and give what it printed."""

    def parsed(*words: object) -> Any:
        result = cli(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return parsed


@pytest.fixture
def made(sql: Sql) -> Made:
    """Make a job in a state: ``made("failed", reason="retries_exhausted", attempt=4)``."""

    def make(state: str = "scheduled", *, message: str = "expire_due_gift_cards", **columns: object) -> UUID:
        data = '{"gift_card_id": "7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08"}' if message.startswith("send") else "{}"
        [row] = sql("SELECT enqueue_job(%s, %s::jsonb, run_at => '2199-01-01Z') AS id", message, data)
        ended = state not in ("scheduled", "queued", "running")
        columns = {"state": state, "run_at": "now"} | ({"finished_at": "now"} if ended else {}) | columns
        changes = ", ".join(f"{name} = %s" for name in columns)
        sql(f"UPDATE jobs SET {changes} WHERE id = %s", *columns.values(), row["id"])  # names of a test
        return UUID(str(row["id"]))

    return make


@pytest.fixture
def sent(sql: Sql) -> Sent:
    """Make a delivery in a state: ``sent(card_id, "unconfirmed", reason="held")``."""

    def make(card_id: UUID, state: str = "unconfirmed", **fields: object) -> UUID:
        row = {"reason": None, "kind": "gift", "channel": "email", "job_id": None} | fields
        [made] = sql(
            "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state, reason, job_id,"
            " attempts, sending_at) VALUES (gen_random_uuid(), %s, %s, %s, 1, %s, %s, %s, %s, clock_timestamp())"
            " RETURNING id",
            card_id,
            row["kind"],
            row["channel"],
            state,
            row["reason"],
            row["job_id"],
            json.dumps([TRIED]),
        )
        return UUID(str(made["id"]))

    return make
