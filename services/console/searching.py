"""Search jobs, newest first: each source reads an index from its newest end and stops at a page's length.

A job's time is when it ended, and until then when it is due. Where no name is given, queues and states are gone through
one by one, since each of these pairs is in order in an index; so are the states of a name. See docs/decisions.md.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, LiteralString, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from services.console.session import Refused
from shared import db
from shared.messages import MESSAGES, QUEUES

ENDED = ["succeeded", "skipped", "failed", "rejected", "cancelled"]
AT_REST = ["scheduled", *ENDED]
STATES = ["scheduled", "queued", "running", *ENDED]
# The words of BullMQ for them, one for all that went wrong and one for all but what lies ahead; each with whether the
# time of its jobs must lie ahead.
WORDS: dict[str, tuple[list[str], bool | None]] = {
    "waiting": (["scheduled", "queued"], False),
    "delayed": (["scheduled"], True),
    "active": (["running"], None),
    "completed": (["succeeded", "skipped", "cancelled"], None),
    "unsuccessful": (["failed", "rejected"], None),
    "past": (STATES, False),
}
# A skipped job has the inputs of its rule in this column.
WITH_ERROR = ["scheduled", "queued", "failed", "rejected"]

COLUMNS: LiteralString = """id, name, queue, state, priority, run_at, attempt, max_attempts, reason, error_type, error,
    gift_card_id, enqueued_at, finished_at, discarded_at"""

AT: LiteralString = "coalesce(finished_at, run_at)"
CONDITIONS: dict[str, LiteralString] = {
    "name": "name = %(name)s",
    "queue": "queue = %(queue)s",
    "card": "gift_card_id = %(card)s",
    "reason": "reason = %(reason)s",
    "error": "error ILIKE %(error)s AND state IN ('scheduled', 'queued', 'failed', 'rejected')",
    # An error that many have is found soonest by walking from the newest; so written, no index of texts is asked.
    "common_error": "error || '' ILIKE %(error)s AND state IN ('scheduled', 'queued', 'failed', 'rejected')",
    "since": "{at} >= %(since)s",
    "until": "{at} <= %(until)s",
    "ahead": "({at} > now())",
    "not_ahead": "({at} <= now())",
    "cursor": "({at}, id) < (%(cursor_at)s, %(cursor_id)s)",
}
ORDER: LiteralString = "ORDER BY {at} DESC, id DESC LIMIT %(limit)s"

OF_CARD: LiteralString = "SELECT id, {at} AS at FROM jobs WHERE state = ANY(%(states)s) AND {where} {order}"
UNDER_WAY: LiteralString = "SELECT id, {at} AS at FROM jobs WHERE state = '{state}' AND {where} {order}"
OF_NAME: LiteralString = """
SELECT found.* FROM unnest(%(at_rest)s::text[]) AS s (state), LATERAL (
    SELECT id, {at} AS at FROM jobs WHERE state = s.state AND state NOT IN ('queued', 'running') AND {where} {order}
) found"""
OF_QUEUES: LiteralString = """
SELECT found.* FROM unnest(%(queues)s::text[]) AS q (queue), unnest(%(ended)s::text[]) AS s (state), LATERAL (
    SELECT id, {at} AS at FROM jobs WHERE queue = q.queue AND state = s.state
        AND state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled') AND {where} {order}
) found"""
SCHEDULED: LiteralString = """
SELECT found.* FROM unnest(%(queues)s::text[]) AS q (queue), generate_series(0, 2) AS p (priority), LATERAL (
    SELECT id, {at} AS at FROM jobs WHERE queue = q.queue AND priority = p.priority AND state = 'scheduled' AND {where}
    {order}
) found"""
OF_REASON: LiteralString = """
SELECT id, {at} AS at FROM jobs WHERE state = ANY(%(at_rest)s) AND state NOT IN ('queued', 'running') AND {where}
{order}
"""
RETRYING: LiteralString = """
SELECT id, {at} AS at FROM jobs WHERE state = 'scheduled' AND error IS NOT NULL AND {where} {order}
"""
# Asked of the index of texts, which stops there.
COMMON = 2000
HITS: LiteralString = """
SELECT count(*) AS hits FROM (SELECT FROM jobs WHERE error ILIKE %(error)s AND error IS NOT NULL
    AND state IN ('scheduled', 'queued', 'failed', 'rejected') LIMIT %(common)s) few
"""
PAGE: LiteralString = """
SELECT {columns}, found.at FROM (SELECT * FROM ({parts}) every ORDER BY at DESC, id DESC LIMIT %(limit)s) found
JOIN jobs USING (id) ORDER BY found.at DESC, id DESC
"""

T = TypeVar("T")


def aware(at: datetime) -> datetime:
    """Take a time without an offset for one in UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _state(given: str) -> str:
    if given not in (*STATES, *WORDS):
        raise ValueError(f"no state is called so: use one of {', '.join((*STATES, *WORDS))}")
    return given


def _filled(given: object) -> object:
    """Take an empty field of a form for none."""
    return None if given == "" else given


Optional = Annotated[T | None, BeforeValidator(_filled)]
Text = Annotated[str, Field(max_length=200)]


class Search(BaseModel):
    """What jobs are looked for; what is not given does not matter. A time without an offset is UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Optional[Annotated[str, AfterValidator(_state)]] = Field(None, description=", ".join((*STATES, *WORDS)))
    name: Optional[Text] = Field(None, description="A message, such as send_gift_card_email.")
    queue: Optional[Text] = None
    card: Optional[UUID] = Field(None, description="A gift card's id.")
    since: Optional[Annotated[datetime, AfterValidator(aware)]] = Field(None, description="Ended or due from then on.")
    until: Optional[Annotated[datetime, AfterValidator(aware)]] = Field(None, description="Ended or due up to then.")
    error: Optional[Annotated[str, Field(min_length=3, max_length=200)]] = Field(None, description="Part of its text.")
    reason: Optional[Text] = Field(None, description="Why it ended so, such as redeemed.")

    def alone(self) -> Search:
        """Give it without what a kind of its own adds to it."""
        return Search.model_validate(self.model_dump(include=set(Search.model_fields)))


def page(
    connection: db.Connection, search: Search, *, limit: int = 50, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Give a page of jobs, each with its time as ``at``, and the cursor of the next one; None: this is the last.

    Raises:
        Refused: the cursor is none of ours.
    """
    given = parameters(search) | {"limit": limit + 1} | (_read(cursor) if cursor else {})
    common = _is_common(connection, search)
    every = parts(search, paged=cursor is not None, common=common)
    statement = PAGE.replace("{columns}", COLUMNS).replace("{parts}", every)
    # It would sort all rather than stop early, since it cannot know how common a text is; SET LOCAL ends with the page.
    connection.execute("SET LOCAL enable_sort = off" if common else "SET LOCAL enable_sort = on")
    # Planned for its values each time: one plan for all could not know how rare an error's text is.
    rows = connection.execute(statement, given, prepare=False).fetchall()
    more = len(rows) > limit
    return rows[:limit], _cursor(rows[limit - 1]) if more else None


def _is_common(connection: db.Connection, search: Search) -> bool:
    """Say whether so many jobs have this error that it is sooner found by walking than by its text."""
    if not search.error or search.card:
        return False
    [row] = connection.execute(HITS, parameters(search) | {"common": COMMON}, prepare=False).fetchall()
    return int(row["hits"]) >= COMMON


def parts(search: Search, *, paged: bool = False, common: bool = False) -> LiteralString:
    """Write the SQL that gives ``id`` and ``at`` of at most ``limit`` jobs from each place where they may be."""
    given = [name for name, value in search if value is not None and name in CONDITIONS]
    given = ["common_error" if common and name == "error" else name for name in given]
    ahead = WORDS.get(search.state or "", ([], None))[1]
    given += [] if ahead is None else ["ahead" if ahead else "not_ahead"]
    where = " AND ".join(CONDITIONS[name] for name in [*given, *(["cursor"] if paged else [])]) or "true"
    return "\nUNION ALL\n".join(
        f"({part.replace('{where}', where).replace('{order}', ORDER).replace('{at}', at)})"
        for part, at in _sources(search)
    )


def _sources(search: Search) -> Iterator[tuple[LiteralString, LiteralString]]:
    states = _states(search)
    if search.card:
        yield OF_CARD, AT
        return
    if search.name:
        yield OF_NAME, AT
    elif search.reason:
        yield OF_REASON, AT
    else:
        yield OF_QUEUES, "finished_at"
        if "scheduled" in states and not search.error:
            yield SCHEDULED, "run_at"
    if "scheduled" in states and search.error:
        yield RETRYING, "run_at"
    for state in ("queued", "running"):
        if state in states:
            yield UNDER_WAY.replace("{state}", state), "run_at"


def _states(search: Search) -> list[str]:
    state = search.state
    states = STATES if state is None else WORDS[state][0] if state in WORDS else [state]
    if search.name in MESSAGES and search.queue not in (None, MESSAGES[search.name].queue):
        states = [state for state in states if state == "rejected"]  # what came by another queue than its own
    return [state for state in states if state in WITH_ERROR] if search.error else states


def parameters(search: Search) -> dict[str, Any]:
    """Give the values of what ``parts`` writes, all but ``limit``."""
    states = _states(search)
    text = (search.error or "").replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return search.model_dump() | {
        "error": f"%{text}%",
        "states": states,
        "at_rest": [state for state in states if state in (ENDED if search.error else AT_REST)],
        "ended": [state for state in states if state in ENDED],
        "queues": [search.queue] if search.queue else list(QUEUES),
    }


def _cursor(row: dict[str, Any]) -> str:
    return urlsafe_b64encode(f"{row['at'].isoformat()} {row['id']}".encode()).decode()


def _read(cursor: str) -> dict[str, Any]:
    try:
        at, _, job = urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return {"cursor_at": aware(datetime.fromisoformat(at)), "cursor_id": UUID(job)}
    except ValueError:
        raise Refused("this page's cursor is none of ours: begin again at the first page") from None
