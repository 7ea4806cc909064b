"""Let about 300 gift cards live their lives on real parts, and check the promises: ``make demo``."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import psycopg
import requests
import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.local import compose, stack, state
from deploy.local.demo import page, stories, verdict
from deploy.local.demo.shop import Shop
from deploy.local.demo.upstream import SOURCE, Upstream
from deploy.local.errors import StackError
from deploy.local.stack import Stack
from shared.publisher import Publisher

DIRECTORY = state.LOCAL / "demo"
PATIENCE_S = 90
LIVE_TOKENS = 150

# Waits that are minutes in production are seconds here; the shared rates are ten times the seed's.
HASTE = {
    "JOBS_BACKOFF_S": json.dumps({"send_gift_card_email": [2, 4, 8], "send_gift_card_sms": [2, 4, 8]}),
    "JOBS_SETTLE_S": "2",
    "JOBS_TIMETABLE__PLAN_EXPIRY_REMINDERS__CRON": "0 0 1 1 *",  # the story says when, not the minute it is told in
    "JOBS_SMS_QUIET_HOURS": "",  # it is night for some of these people
    "JOBS_UNKNOWN_CARD_GRACE_S": "4",
    "JOBS_UNKNOWN_MESSAGE_GRACE_S": "4",
    **{
        f"JOBS_QUEUES__{queue}__RATE_PER_S": "100" for queue in ("EMAIL_DELIVERY", "SMS_DELIVERY", "SCHEDULED_DELIVERY")
    },
}
# Published messages become rows when a worker reads them; what they lead to is written with their end.
PROGRESS = """
SELECT (SELECT count(*) FROM jobs WHERE source IN (%s, 'seed', 'mistakes', 'amqp')) AS arrived,
    count(*) FILTER (WHERE finished_at IS NOT NULL) AS done, count(*) AS jobs FROM jobs
WHERE finished_at IS NOT NULL OR run_at < clock_timestamp() + interval '15 seconds'
"""


class Where(StrEnum):
    """What the demonstration runs on."""

    LOCAL = "local"
    COMPOSE = "compose"


def main(
    seed: Annotated[int, typer.Option(help="The same seed makes the same people.")] = 7,
    on: Annotated[Where, typer.Option("--stack", help="Processes of this machine, or the containers of Compose.")] = (
        Where.LOCAL
    ),
    stop: Annotated[
        bool, typer.Option("--stop", help="End the stack afterwards instead of leaving it to look at.")
    ] = False,
) -> None:
    """Start the whole system, act as its upstream, and check that every promise is kept.

    Example: python -m deploy.local.demo --seed 42 --stop
    """
    console, started = Console(highlight=False), time.monotonic()
    try:
        with console.status("starting the servers and services"):
            running = _start(on)
    except StackError as error:
        raise SystemExit(str(error)) from None
    try:
        report = live(running, random.Random(seed), console)
        file = running.directory / "report.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=2, default=str) + "\n")
        page.show(console, report, running, _short(file), time.monotonic() - started, running=not stop)
    finally:
        if stop:
            compose.down() if on is Where.COMPOSE else stack.down(DIRECTORY)
    raise SystemExit(0 if report["kept"] else 1)


def _start(on: Where) -> Stack:
    if on is Where.COMPOSE:
        return compose.up(extra_env=HASTE, fresh=True)
    return stack.up(DIRECTORY, extra_env=HASTE, schedulers=2, fresh=True)


def live(running: Stack, chance: random.Random, console: Console) -> dict[str, Any]:
    """Let the cards live, and give the report."""
    key = json.loads(running.env["JOBS_CODE_KEYS"])[0]
    outside = running.inbox_url.rstrip("/")
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TextColumn("jobs"),
        TimeElapsedColumn(), console=console,
    )  # fmt: skip
    with (
        psycopg.connect(running.env["JOBS_DATABASE_URL"], autocommit=True, row_factory=dict_row) as connection,
        Publisher(running.env["JOBS_RABBITMQ_URL"], source=SOURCE) as publisher,
        bar,
    ):
        upstream = Upstream(Shop(connection, key, chance), publisher, running.env["JOBS_RABBITMQ_URL"], outside, chance)
        _play(upstream, _watcher(upstream, bar))
        inbox = requests.get(f"{outside}/messages.json", timeout=30).json()
        return verdict.report(connection, upstream.cases, inbox, LIVE_TOKENS)


def _play(up: Upstream, finish: Callable[[str], None]) -> None:
    stories.trouble_outside(up)
    changes = stories.delivered_later(up)
    for change in changes:
        change()
    to_remind_of = stories.gifts_to_remind_of(up)
    stories.bad_input(up)
    stories.expired(up)
    stories.tokens_cleaned(up)
    stories.delivered_now(up)
    finish("gifts, expiries and mistakes")
    stories.reminded(up, to_remind_of)
    finish("reminders")


def _watcher(up: Upstream, bar: Progress) -> Callable[[str], None]:
    """Give a function that shows the progress until all that was asked for has ended, or patience has."""
    task = bar.add_task("", total=None)

    def finish(what: str) -> None:
        deadline, ended = time.monotonic() + PATIENCE_S, False
        while not ended and time.monotonic() < deadline:
            time.sleep(0.3)
            arrived, done, jobs = (up.shop.connection.execute(PROGRESS, (SOURCE,)).fetchone() or {}).values()
            bar.update(task, description=what, completed=done, total=jobs)
            ended = arrived >= up.published and done == jobs

    return finish


def _short(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


if __name__ == "__main__":
    typer.run(main)
