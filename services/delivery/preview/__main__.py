"""Render every template in every language to files, and check them; the exit status is 1 when a check fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from services.delivery.preview import chromium, translations
from services.delivery.preview.checks import CHECKS
from services.delivery.preview.files import shoot, write, write_sheet
from services.delivery.preview.samples import Message, messages

FOLDER = Path(".local/templates")
# What the console shows: it may not import this service, so a test compares these files with the templates.
FOR_CONSOLE = Path("services/console/previews")
FONTS = {"Japanese": (":lang=ja", "fonts-noto-cjk"), "emoji": (":lang=und-zsye", "fonts-noto-color-emoji")}
console = Console(highlight=False)


def main() -> int:
    """Render, take pictures, check, and say what came of it; the console gets what is good."""
    everything = list(messages())
    shutil.rmtree(FOLDER, ignore_errors=True)
    program = _chromium()
    too_wide = _written(everything, program)
    sheet = write_sheet(everything, FOLDER, pictures=bool(program))
    problems = _problems(everything) | ({"width": too_wide} if program else {})
    _report(problems, len(everything))
    console.print(f"{len(everything)} messages to look at: {sheet}")
    if any(problems.values()):
        return 1
    for message in everything:
        if message.sample == "usual":
            write(message, FOR_CONSOLE)
    return 0


def _written(everything: list[Message], program: str | None) -> list[str]:
    """Write all files; give the messages that are wider than a screen."""
    found = []
    with ExitStack() as stack:
        browser = stack.enter_context(chromium.opened(program)) if program else None
        for message in track(everything, "Rendering", console=console):
            write(message, FOLDER)
            if browser:
                found += [f"{message.language}/{message.name}: {wrong}" for wrong in shoot(message, FOLDER, browser)]
    return found


def _chromium() -> str | None:
    """Find Chromium, or install it where that can be done; else say how to."""
    if not chromium.program() and os.geteuid() == 0 and shutil.which("apt-get"):
        console.print("Installing Chromium …")
        subprocess.run(["apt-get", "install", "-y", "-q", "chromium"], stdout=subprocess.DEVNULL, check=False)  # noqa: S607
    program = chromium.program()
    if program:
        _miss_fonts()
    else:
        console.print("No Chromium, so no pictures: install it (apt-get install chromium) for more than HTML.")
    return program


def _miss_fonts() -> None:
    for script, (pattern, package) in FONTS.items():
        if shutil.which("fc-list") and not subprocess.check_output(["fc-list", pattern]).strip():  # noqa: S603, S607
            console.print(f"No font for {script}: its pictures will show boxes (apt-get install {package}).")


def _problems(everything: list[Message]) -> dict[str, list[str]]:
    """Give what is wrong by check."""
    found = {
        name: [f"{message.language}/{message.name}: {wrong}" for message in everything for wrong in check(message)]
        for name, check in track(CHECKS.items(), "Checking", console=console)
    }
    return found | {"translations": [f"{language}: {wrong}" for language, wrong in translations.problems()]}


def _report(problems: dict[str, list[str]], count: int) -> None:
    table = Table("Check", "What must be true", "Result", title=f"{count} messages")
    told = {name: check.__doc__ for name, check in CHECKS.items()} | {
        "translations": "All languages have the same files, words and values.",
        "width": "Nothing is wider than a phone.",
    }
    for name, wrong in problems.items():
        result = f"[red]{len(wrong)} wrong[/red]" if wrong else "[green]good[/green]"
        table.add_row(name.replace("_", " "), told[name], result)
    console.print(table)
    for name, wrong in problems.items():
        for line in wrong:
            console.print(f"[red]{name}[/red] {escape(line)}")


if __name__ == "__main__":
    sys.exit(main())
