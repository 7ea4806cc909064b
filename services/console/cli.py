"""The console's command line: ``python -m services.console.cli --help``."""

from __future__ import annotations

from collections.abc import Callable

import typer

from services.console import (
    acting,
    asking,
    checking,
    forecasting,
    passwords,
    reading,
    replaying,
    resolving,
    steering,
    suppressing,
    telling,
    watching,
)
from services.console.session import Commands

app = typer.Typer(
    cls=Commands,
    name="console",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="See, understand and act on the gift-card jobs. The database is that of JOBS_DATABASE_URL.",
)

LOOK: list[Callable[..., None]] = [
    reading.counts,
    reading.jobs,
    reading.job,
    reading.failed,
    reading.rejected,
    telling.story,
    resolving.deliveries,
    suppressing.suppressions,
    watching.breakers,
    watching.brake,
    forecasting.forecast,
    reading.schedule,
    checking.invariants,
]
DELIVER: list[Callable[..., None]] = [
    asking.resend,
    asking.cancel_delivery,
    asking.reschedule,
    asking.correct,
    resolving.resolve,
    suppressing.suppress,
    suppressing.lift,
]
ACT: list[Callable[..., None]] = [
    acting.retry,
    acting.cancel,
    acting.move,
    acting.promote,
    acting.discard,
    steering.pause,
    steering.resume,
    steering.rate,
    watching.release,
    steering.prune,
    steering.run,
    replaying.replay,
]
PANELS = {"Look": LOOK, "Act on a gift": DELIVER, "Act on jobs and queues": ACT, "Sign in": [passwords.password]}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)

if __name__ == "__main__":
    app()
