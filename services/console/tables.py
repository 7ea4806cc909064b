"""How the console shows things: a table for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from json import dumps
from typing import Any
from unicodedata import category

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WHOLE = 500
# What may be broken over lines where it is narrow; an id is to be copied whole.
FOLDED = {"error", "detail", "paused", "said", "attempted", "words"}
COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "queued": "blue",
    "scheduled": "blue",
    "skipped": "yellow",
    "cancelled": "yellow",
    "failed": "bold red",
    "rejected": "bold red",
    "sent": "green",
    "delivered": "green",
    "unconfirmed": "bold magenta",
    "bounced": "bold red",
    "suppressed": "yellow",
}


def show(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    title: str,
    empty: str = "nothing",
    json: bool = False,
) -> None:
    """Print rows as a table, or as JSON with all they have: ``columns`` maps a key of the rows to its heading."""
    found = list(rows)
    if json:
        return as_json(found)
    if not found:
        return say(f"{title}: {empty}")
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="dim")
    for key, heading in columns.items():
        numeric = all(isinstance(row[key], int | float) or row[key] is None for row in found)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=key not in FOLDED)
    for row in found:
        table.add_row(*(cell(row[key]) for key in columns))
    _print(table)
    return None


def show_one(row: Mapping[str, Any], *, title: str) -> None:
    """Print one row, a line for each value it has."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2, 0, 0)
    )
    for key, value in row.items():
        if value not in (None, [], {}):
            table.add_row(Text(key, style="dim"), cell(value))
    _print(table)


def _print(table: Table) -> None:
    """Print a table to a terminal's width, if its ids fit in, and whole to anything else: a line is searched there."""
    console = Console()
    wide = console.measure(table, options=console.options.update(width=WHOLE))
    console.width = max(console.width, wide.minimum) if console.is_terminal else WHOLE
    console.print(table)


def cell(value: Any) -> Text:
    """Write one value: times in UTC to the second, words of state in their colour, nothing for None."""
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M:%S}")
    if isinstance(value, float):
        return Text(f"{value:,.1f}".removesuffix(".0"))
    if isinstance(value, dict | list):
        return Text(dumps(value, default=str))
    return Text("" if value is None else harmless(str(value)), style=COLOURS.get(str(value), ""))


def harmless(text: str) -> str:
    """Put � for what a terminal would obey or not show: senders choose keys, names and sources."""
    return "".join("�" if category(letter) in ("Cc", "Cf", "Zl", "Zp") else letter for letter in text)


def money(amount: Decimal) -> str:
    """Write an amount with its thousands apart, and no fraction smaller than a cent unless there is one."""
    return f"{amount:,.2f}" if amount == round(amount, 2) else f"{amount:,f}"


def as_json(value: Any) -> None:
    """Print a value as JSON; times are ISO 8601 in UTC, ids and money are strings."""
    print(dumps(value, default=_plain, indent=2))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def say(line: str) -> None:
    """Print one line as it is."""
    Console(highlight=False, soft_wrap=True).print(Text(harmless(line)))
