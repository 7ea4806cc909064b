"""Facts told once more, to one queue: for a reader that has lost some, or is new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, LiteralString

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from services.console import actions, tables
from services.console.session import As, Refused, Why, Zone, connected, moment, operator
from shared import facts
from shared.publisher import Publisher
from shared.settings import settings
from shared.topology import lanes

PAGE = 500

SPAN: LiteralString = """
SELECT since, until, since < clock_timestamp() - make_interval(days => %(kept_days)s) AS partly_gone, (
    SELECT count(*) FROM events WHERE published_at >= since AND published_at < until AND number IS NOT NULL
) AS facts
FROM (SELECT %(since)s::timestamptz AS since, coalesce(%(until)s::timestamptz, clock_timestamp()) AS until) span
"""

# A batch was told in the order of its ids, and has one time.
NEXT: LiteralString = """
SELECT id, type, subject, number, data, created_at, published_at FROM events
WHERE published_at >= %(since)s AND published_at < %(until)s AND number IS NOT NULL
    AND (published_at, id) > (%(last_at)s, %(last_id)s)
ORDER BY published_at, id LIMIT %(rows)s
"""


def replay(
    since: Annotated[str, typer.Option(metavar="TIME", help="What was told from then on; ISO 8601.")],
    queue: Annotated[str, typer.Option(metavar="NAME", help="The reader's queue; nobody else gets anything.")],
    reason: Why,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="And before then; without it, now.")] = None,
    zone_name: Zone = "UTC",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how many it would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    who: As = None,
) -> None:
    """Tell facts again to one queue, in the order in which they were told, with the ids and numbers that they have.

    Example: replay --since 2026-12-25T09:00 --zone Europe/Berlin --queue shop.facts --reason "lost" --dry-run

    Example: replay --since 2026-12-01T00:00Z --until 2026-12-02T00:00Z --queue reports.facts --reason "new reader"
    """
    if queue.removesuffix(".XQ") in lanes():
        raise Refused(f"{queue} is a queue of ours, for messages: name the queue of whoever reads facts")
    span = _span(since, until, zone_name)
    if dry_run or not span["facts"]:
        return
    if not yes:
        typer.confirm(f"Tell them again to {queue}?", abort=True)
    with connected() as connection:  # kept before, not after: what is out cannot be taken back
        details = {"facts": span["facts"], "since": span["since"].isoformat(), "until": span["until"].isoformat()}
        actions.keep(connection, "events.replayed", queue, by=operator(who), why=reason, **details)
    tables.say(f"{_tell(span, queue):,} facts are in {queue} again")


def _span(since: str, until: str | None, zone_name: str) -> dict[str, Any]:
    """Count the facts of a time, and say so."""
    end = moment(until, zone_name) if until else None
    given = {"since": moment(since, zone_name), "until": end, "kept_days": facts.KEPT_DAYS}
    with connected() as connection:
        [span] = connection.execute(SPAN, given).fetchall()
    if span["since"] >= span["until"]:
        raise Refused("--since is not before --until, or lies ahead")
    tables.say(f"{span['facts']:,} facts were told from {span['since']:%F %T} to {span['until']:%F %T} UTC")
    if span["partly_gone"]:
        tables.say(f"what was told more than {facts.KEPT_DAYS} days ago is no longer kept")
    return span


def _tell(span: dict[str, Any], queue: str) -> int:
    """Publish page by page. Returns how many facts went out."""
    told, expected = 0, span["facts"]
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    url = settings().rabbitmq_url.get_secret_value()
    with Publisher(url) as publisher, Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=expected)
        for rows in _pages(span):
            packets = publisher.publish([facts.packet(row, queue=queue) for row in rows])
            if failed := next((packet for packet in packets if packet.error), None):
                why = "there is no such queue: its reader declares it first" if failed.returned else failed.error
                raise Refused(f"{told:,} of {expected:,} facts are in {queue}, then: {why}. Asking again is safe")
            told += len(rows)
            progress.update(bar, completed=told)
    return told


def _pages(span: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Read the facts of a span in the order of telling, each page in a transaction of its own."""
    last = {"last_at": span["since"], "last_id": 0}
    while True:
        with connected() as connection:
            rows = connection.execute(NEXT, {**span, **last, "rows": PAGE}).fetchall()
        if not rows:
            return
        yield rows
        last = {"last_at": rows[-1]["published_at"], "last_id": rows[-1]["id"]}
