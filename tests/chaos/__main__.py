"""Let everything go wrong, and count what was lost: ``make chaos``."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import state
from tests.chaos import page, report, soak
from tests.chaos.nemeses import NEMESES
from tests.chaos.run import Plan, run
from tests.chaos.shop import Front
from tests.chaos.site import running

DIRECTORY = state.LOCAL / "chaos"
STORM = ["kill-workers", "kill-rabbitmq", "crash-postgresql", "smtp-swallows"]
SHORT = ["kill-workers", "kill-rabbitmq", "crash-postgresql", "smtp-swallows", "twilio-hangs", "reset-database"]
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    seed: Annotated[int, typer.Option(help="The same seed meets the same nemeses in the same order.")] = 1,
    nemeses: Annotated[str, typer.Option(help="Only these, by comma; 'list' prints them.")] = "",
    burst: Annotated[int, typer.Option(help="Cards that are due at one instant.")] = 6000,
    short: Annotated[bool, typer.Option("--short", help="About 90 s: a few nemeses and a small burst.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds to recover, and to quiesce at the end.")] = 120,
    hours: Annotated[float, typer.Option(help="Soak at a twentieth of the intensity for so long instead.")] = 0,
) -> None:
    """Run the whole system with a shop at work, break every part of it, and hold the end against every promise.

    Examples:

    python -m tests.chaos --seed 42

    python -m tests.chaos --seed 42 --nemeses kill-rabbitmq,smtp-swallows --burst 500

    python -m tests.chaos --nemeses list
    """
    console = Console(highlight=False, soft_wrap=True)
    if nemeses == "list":
        for one in NEMESES.values():
            console.print(f"{one.name:<22} {one.says}")
        raise typer.Exit
    chosen = nemeses.split(",") if nemeses else SHORT if short else list(NEMESES)
    if unknown := [name for name in chosen if name not in NEMESES]:
        raise typer.BadParameter(f"no nemesis is called {', '.join(unknown)}: --nemeses list prints them")
    directory, began = DIRECTORY / str(seed), time.monotonic()

    def say(what: str) -> None:
        console.print(f"{timedelta(seconds=round(time.monotonic() - began))}  {what}")

    with running(directory, say) as site:
        if hours:
            raise typer.Exit(soak.soak(site, seed, hours, say))
        plan = Plan(seed, chosen, [name for name in STORM if name in chosen], burst=burst, patience_s=patience)
        if short:
            plan = _short(plan)
        front = Front(site, seed, per_s=plan.per_s)
        course = run(site, plan, front, say)
        say("counting")
        found = report.report(site, plan, front, course, time.monotonic() - began)
    file = report.write(DIRECTORY, found)
    page.show(console, found, file)
    if found["failed"]:
        console.print(f"logs, data and journal: {page.path(directory)}")
        again = f"--seed {seed}{' --short' if short else ''}{f' --nemeses {nemeses}' if nemeses else ''}"
        console.print(f"the same again: python -m tests.chaos {again}")
    raise typer.Exit(1 if found["failed"] else 0)


def _short(plan: Plan) -> Plan:
    """Ask for less, in less time. How soon it recovers is told and not judged: other work may have the processors."""
    return replace(
        plan, storm=["kill-workers"], calm_s=5, nemesis_s=3, burst=min(plan.burst, 150), storm_s=5, asleep_s=15,
        per_s=6, recover_s=15, must_recover=False,
    )  # fmt: skip


if __name__ == "__main__":
    app()
