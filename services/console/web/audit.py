"""What was done by hand: who, what, to which, and why."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import StringConstraints

from services.console import queries
from services.console.web.screens import screen
from shared import db

Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00]*$")]


@screen("/audit", "audit.html")
def list_acts(
    who: Word = "",
    action: Word = "",
    subject: Word = "",
    before: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="Only acts with a smaller id.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """List acts, the latest first. ``older`` is the ``before`` of the next page, None on the last."""
    wanted = {"who": who or None, "action": action or None, "subject": subject or None}
    with db.transaction() as connection:
        rows = connection.execute(queries.AUDIT, wanted | {"before": before, "limit": limit}).fetchall()
    return {"acts": rows, "older": rows[-1]["id"] if len(rows) == limit else None, "wanted": wanted}
