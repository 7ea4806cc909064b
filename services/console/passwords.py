"""``password``: the hash that the settings keep of somebody's password."""

from __future__ import annotations

import typer

from services.console.session import Refused
from services.console.web.users import hashed

SHORTEST = 12


def password() -> None:
    """Ask for a password, and print the hash that JOBS_CONSOLE_USERS keeps of it.

    Example: password
    """
    given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(given) < SHORTEST:
        raise Refused(f"a password has {SHORTEST} characters or more; four words that chance picked are good")
    print(hashed(given))
