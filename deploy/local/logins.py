"""A login of its own for each service of a stack, in its database and on its broker, with passwords made here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from deploy.local import database, management, rabbitmq, state
from shared.broker_users import PERMISSIONS
from shared.privileges import GRANTS, role


def make(directory: Path, env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Give the URLs of each service, by its name; what a service does not need, or is not the stack's own, is left out.

    Parameters:
        env: the owner's URLs.
    """
    own = state.read(directory)["own"]
    passwords = _passwords(directory)
    urls: dict[str, dict[str, str]] = {service: {} for service in passwords}
    for service in GRANTS if "postgres" in own else ():
        url = env["JOBS_DATABASE_URL"]
        database.login(url, service, passwords[service], role(service))
        urls[service]["JOBS_DATABASE_URL"] = database.signed_in(url, service, passwords[service])
    for user in PERMISSIONS if "rabbitmq" in own else ():
        page = rabbitmq.management_url(directory / "rabbitmq", password=True)
        management.user(page, "%2F", user, passwords[user], asdict(PERMISSIONS[user]))
        urls[user]["JOBS_RABBITMQ_URL"] = rabbitmq.signed_in(env["JOBS_RABBITMQ_URL"], user, passwords[user])
    if may_declare := urls["topology"].get("JOBS_RABBITMQ_URL"):
        urls["scheduler"]["JOBS_TOPOLOGY_URL"] = may_declare
    return urls


def _passwords(directory: Path) -> dict[str, str]:
    """Give each service the password that it had, or a new one."""
    known: dict[str, str] = state.read(directory).get("logins", {})
    found = {name: known.get(name) or secrets.token_urlsafe(24) for name in {**GRANTS, **PERMISSIONS}}
    state.remember(directory, logins=found)
    return found
