"""The demonstration's last page: tables for people, of the same numbers as the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local.stack import Stack

TITLES = {
    "gift": {"email": "gifts by e-mail", "sms": "gifts by SMS"},
    "reminder": {"email": "reminders by e-mail", "sms": "reminders by SMS"},
}


def show(console: Console, report: dict[str, Any], stack: Stack, file: Path, seconds: float, *, running: bool) -> None:
    """Print what happened, whether the promises were kept, and where to look while it is running."""
    console.print(_happened(report))
    console.print(_mended(report))
    console.print(_promises(report))
    if running:
        console.print("\n[bold]Where to look[/] (it still runs; [cyan]make down[/] ends it)")
        console.print(f"  {'inbox':<12}{stack.inbox_url}")
        for name, service in stack.services.items():
            if name != "outside":
                console.print(f"  {name:<12}{service.url}/metrics")
    console.print(f"\nreport: {file}")
    verdict = "[bold green]all promises kept[/]" if report["kept"] else "[bold red]A PROMISE IS BROKEN[/]"
    console.print(f"{report['cards']} cards, {sum(report['accepted'].values())} messages, {seconds:.0f} s: {verdict}")
    if running:
        name, _, password = stack.env["CONSOLE_LOGIN"].partition(":")
        login = f"login [bold]{name}[/], password [bold]{password}[/]"
        console.print(f"Look at all of it in the console: [bold cyan]{stack.console_url}[/], {login}", soft_wrap=True)


def _happened(report: dict[str, Any]) -> Table:
    table = Table(title="What happened", title_justify="left", title_style="bold", show_edge=False)
    for column in ("what", "outcome", "why"):
        table.add_column(column)
    table.add_column("number", justify="right")
    for row in report["deliveries"]:
        resent = f"{row['resends']} resent" if row["resends"] else ""
        table.add_row(
            TITLES[row["kind"]][row["channel"]], row["state"], row["reason"] or resent, str(row["deliveries"])
        )
    for row in report["answers_lost"]:
        why = f"answer lost, settled by {'a callback' if row['settled_by'] == 'callback' else 'asking'}"
        table.add_row(TITLES["gift"][row["channel"]], "of these", why, str(row["deliveries"]))
    table.add_section()
    for row in report["expired"]:
        table.add_row("cards expired", f"{float(row['amount']):,.2f} {row['currency']}", "", str(row["cards"]))
    table.add_section()
    for row in report["jobs"]:
        if row["state"] in ("skipped", "cancelled", "scheduled", "failed"):
            table.add_row(f"job {row['name']}", row["state"], row["reason"], str(row["jobs"]))
    table.add_section()
    table.add_row("sign-in tokens", "left", "live or revoked, not expired", str(report["tokens"]["left"]))
    return table


def _mended(report: dict[str, Any]) -> Table:
    table = Table(title="\nRejected, and what to mend", title_justify="left", title_style="bold", show_edge=False)
    table.add_column("reason")
    table.add_column("number", justify="right")
    table.add_column("what to mend", overflow="fold")
    for row in report["rejected"]:
        table.add_row(row["reason"], str(row["jobs"]), row["mend"])
    return table


def _promises(report: dict[str, Any]) -> Table:
    table = Table(title="\nPromises", title_justify="left", title_style="bold", show_edge=False, show_header=False)
    for name, broken in report["promises"].items():
        table.add_row("[red]✗[/]" if broken else "[green]✓[/]", name, f"[red]{broken} broken[/]" if broken else "")
    return table
