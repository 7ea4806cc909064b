"""The ``JOBS_*`` variables of a local stack: private servers, stand-ins for the outside world, a key of its own."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from pathlib import Path

from cryptography.fernet import Fernet
from sqlalchemy import make_url

from deploy.local import state
from services.console.web.users import hashed
from tests import outside


def variables(directory: Path, ports: dict[str, int]) -> dict[str, str]:
    """Give what a stack's services and users need besides the servers' URLs, the same at each start.

    Parameters:
        ports: those of the stand-ins, ``smtp`` and ``outside``, of what they report to, ``reports``, and of the
            console, ``pages``.
    """
    key = state.read(directory).get("code_key") or state.remember(directory, code_key=_new_key())["code_key"]
    signs = state.read(directory).get("link_key") or state.remember(directory, link_key=_new_key())["link_key"]
    user = (
        state.read(directory).get("console_user") or state.remember(directory, console_user=_new_user())["console_user"]
    )
    return {
        "JOBS_CODE_KEYS": json.dumps([key]),
        "JOBS_SMTP_HOST": "127.0.0.1",
        "JOBS_SMTP_PORT": str(ports["smtp"]),
        "JOBS_SMTP_SECURITY": "none",
        "JOBS_TWILIO_BASE_URL": f"http://127.0.0.1:{ports['outside']}",
        "JOBS_TWILIO_ACCOUNT_SID": outside.ACCOUNT_SID,
        "JOBS_TWILIO_API_KEY": outside.API_KEY,
        "JOBS_TWILIO_API_SECRET": outside.API_SECRET,
        "JOBS_TWILIO_FROM": outside.FROM_NUMBER,
        "JOBS_TWILIO_AUTH_TOKEN": outside.AUTH_TOKEN,
        "JOBS_WEBHOOK_PORT": str(ports["reports"]),
        "JOBS_WEBHOOK_URL": f"http://127.0.0.1:{ports['reports']}",
        "JOBS_WEBHOOK_KEYS": json.dumps([signs]),
        "JOBS_CONSOLE_PORT": str(ports["pages"]),
        "JOBS_CONSOLE_URL": f"http://127.0.0.1:{ports['pages']}",
        "JOBS_CONSOLE_KEYS": json.dumps([signs]),
        "CONSOLE_LOGIN": f"{user['login']}:{user['password']}",  # for curl -u, and no service's setting
        "JOBS_CONSOLE_USERS": json.dumps({user["login"]: {"role": "admin", "password_hash": user["password_hash"]}}),
    }


def write(path: Path, values: dict[str, str]) -> None:
    """Write variables as a file for ``set -a; . FILE``, readable by its owner only."""
    state.write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def given(name: str, server: Path) -> str | None:
    """Give a server's URL that the caller's environment sets, None if it is unset or means the stack's own server.

    The latter is the case in a shell that has read the stack's own file of variables.

    Parameters:
        server: directory of the stack's own server.
    """
    url = os.environ.get(name)
    return None if url and make_url(url).password == state.read(server).get("password", "") else url


def _new_user() -> dict[str, str]:
    password = secrets.token_urlsafe(12)
    return {"login": "admin", "password": password, "password_hash": hashed(password)}


def _new_key() -> str:
    return Fernet.generate_key().decode()
