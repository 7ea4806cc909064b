"""Jobs asked for over HTTP: the SQL door, for those who have no client of RabbitMQ or PostgreSQL at hand."""

from __future__ import annotations

from typing import Annotated, Any, Literal, LiteralString
from uuid import UUID

from fastapi import APIRouter, Request
from psycopg.types.json import Jsonb
from pydantic import AwareDatetime, BaseModel, Field

from services.console import actions
from services.console.web.access import API, Guarded
from services.console.web.screens import Act
from shared import db

router = APIRouter(route_class=Guarded)

ENQUEUE: LiteralString = """
SELECT enqueue_job(%(name)s, %(data)s, run_at => %(run_at)s, priority => %(priority)s, dedupe_key => %(dedupe_key)s,
    source => %(source)s) AS id
"""


class NewJob(Act):
    """A message as docs/contracts.md describes it, and why it is sent by hand."""

    name: Annotated[str, Field(max_length=100, examples=["deliver_gift_card"])]
    data: dict[str, Any] = {}
    run_at: AwareDatetime | None = None
    priority: Literal["urgent", "normal", "bulk"] = "normal"
    dedupe_key: Annotated[str, Field(max_length=200)] | None = None


class Sent(BaseModel):
    """The job that there is now; the one that had the dedupe key before, if there is one."""

    id: UUID


@router.post(f"{API}/jobs", status_code=201, operation_id="send_job")
def send_job(request: Request, given: NewJob) -> Sent:
    """Ask for a job; what does not fit its message is refused by field."""
    login = request.state.user.login
    fields = given.model_dump(exclude={"reason", "data"}) | {"data": Jsonb(given.data), "source": "console"}
    with db.transaction() as connection:
        [row] = connection.execute(ENQUEUE, fields).fetchall()
        actions.keep(connection, "job.asked", str(row["id"]), by=login, why=given.reason)
    return Sent(id=row["id"])
