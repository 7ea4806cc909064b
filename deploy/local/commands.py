"""The command line of the local stack: up, down, status, logs, card."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import compose, database, rabbitmq, stack
from deploy.local.demo.people import Person
from deploy.local.demo.shop import Shop
from deploy.local.errors import StackError
from deploy.local.services import Service
from deploy.local.stack import Stack

app: typer.Typer = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The whole system on this machine, without Docker."
)
_console = Console(soft_wrap=True, highlight=False)
_LIGHTS = {True: "[green]ready[/]", False: "[red]not ready[/]"}


@app.command()
def up() -> None:
    """Start what does not run yet: PostgreSQL, RabbitMQ, the stand-ins for mail and SMS, every service.

    Your own servers are used where JOBS_DATABASE_URL and JOBS_RABBITMQ_URL name them.

    Example: python -m deploy.local.stack up && set -a && . .local/stack/env
    """
    with _errors(), _console.status("starting"):
        _show(stack.up(report=lambda step: _console.print(f"[green]✓[/] {step}")))


@app.command()
def down(
    delete: Annotated[bool, typer.Option("--delete", help="Drop data, logs and settings, too.")] = False,
) -> None:
    """Stop every process of this checkout: of 'up', of the tests, of the demonstration.

    Data stay, and 'up' goes on with them.

    Example: python -m deploy.local.stack down --delete
    """
    with _errors(), _console.status("stopping"), ThreadPoolExecutor() as pool:
        directories = stack.all_directories()
        for directory, _ in zip(
            directories, pool.map(stack.delete if delete else stack.down, directories), strict=True
        ):
            _console.print(f"{'deleted' if delete else 'stopped'}: {directory.name}")
        compose.down(delete=delete)
        if not directories:
            _console.print("nothing was started here")


@app.command()
def status() -> None:
    """Show every process with its state and its pages; the exit status is 1 if one is not ready.

    Example: python -m deploy.local.stack status || python -m deploy.local.stack logs
    """
    with _errors():
        found = stack.look()
        _show(found)
        raise typer.Exit(0 if found.well else 1)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="One service only, such as expiry.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print the last log lines of every service, or of one.

    Example: python -m deploy.local.stack logs --follow delivery
    """
    with _errors():
        services = stack.look().services
        if name and name not in services:
            raise StackError(f"no service is called {name}: use one of {', '.join(services)}")
        files = [str(service.log) for service in services.values() if name in (None, service.name)]
        sys.stdout.flush()
        os.execvp("tail", ["tail", "-n", "50", *(["-F"] if follow else []), *files])  # noqa: S606  # no shell is meant


@app.command()
def card(
    email: Annotated[str, typer.Option(help="Whom it is for; nothing leaves this machine.")] = "mia@example.com",
    phone: Annotated[str, typer.Option(help="And the number, for SMS.")] = "+447400123456",
    balance: Annotated[str, typer.Option(help="In euros.")] = "25.00",
) -> None:
    """Issue a gift card, as the shop would, and print its id: something to deliver.

    Example: python -m deploy.local.stack card --email you@example.com
    """
    with _errors():
        env = stack.look().env
        mia = Person("Mia", "Leo", email, phone, "en-GB", "EUR", "Europe/London", Decimal(balance), "Happy birthday!")
        with psycopg.connect(env["JOBS_DATABASE_URL"]) as connection:
            [key, *_] = json.loads(env["JOBS_CODE_KEYS"])
            print(Shop(connection, key, random.SystemRandom()).issue(mia))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(1) from None


def _page(service: Service) -> str:
    return "" if service.name == "outside" else f"{service.url}/metrics"


def _show(found: Stack) -> None:
    table = Table("service", "state", "pid", "metrics", box=None, header_style="bold", pad_edge=False)
    for service in found.services.values():
        light = _LIGHTS[service.ready] if service.state == "RUNNING" else f"[red]{service.state.lower()}[/]"
        table.add_row(service.name, light, str(service.pid or "-"), _page(service))
    _console.print(table)
    words = {True: "[green]running[/]", False: "[red]stopped[/]", None: "yours"}
    pages = {
        "console": f"{found.console_url} (user {found.env['CONSOLE_LOGIN'].partition(':')[0]})",
        "inbox": found.inbox_url,
        "PostgreSQL": f"{database.shown(found.env['JOBS_DATABASE_URL'])} ({words[found.servers['postgres']]})",
        "RabbitMQ": f"{database.shown(found.env['JOBS_RABBITMQ_URL'])} ({words[found.servers['rabbitmq']]})",
        "management": (found.management_url and f"{found.management_url} (user {rabbitmq.USER})")
        or "that of your RabbitMQ",
        "passwords": f"in {found.directory / 'env'}: set -a; . {os.path.relpath(found.directory / 'env')}",
    }
    for label, page in pages.items():
        _console.print(f"{label:<11} {page}")
