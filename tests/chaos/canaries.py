"""Birds that must not sing: names, a code, a number planted on cards, looked for wherever nothing personal may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from deploy.local.demo.people import Person
from tests.canaries import EMAIL, NAME, PHONE, WORDS, secrets, song
from tests.chaos.site import Site

ROWS = "SELECT 'jobs' AS place, j::text AS row FROM jobs j UNION ALL SELECT 'events', e::text FROM events e"


def fields(person: Person, key: str) -> tuple[Person, dict[str, object]]:
    """Give a person and a card's fields that are all canaries."""
    bird = replace(person, name=NAME, words=WORDS, email=EMAIL, phone=PHONE)
    own = secrets(key)
    return bird, {"last4": own["code_last4"], "token": own["code_encrypted"]}


def singing(site: Site, connection: Any) -> list[str]:
    """Name every place where one is found: logs, the broker's files, rows of jobs and facts, metrics."""
    found = [f"{place}: {song(text)}" for place, text in _texts(site, connection) if song(text)]
    return sorted(set(found))


def _texts(site: Site, connection: Any) -> Iterator[tuple[str, bytes]]:
    for place in (site.directory / "logs", site.directory / "rabbitmq"):
        for file in place.rglob("*"):
            if file.is_file() and not file.name.startswith(("outside", "control")):
                yield str(file.relative_to(site.directory)), _read(file)
    for row in connection.execute(ROWS):
        yield row["place"], row["row"].encode()
    for program in site.programs:
        if program.port and program.name != "outside":
            yield (
                f"{program.name}/metrics",
                requests.get(f"http://127.0.0.1:{program.port}/metrics", timeout=10).content,
            )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # the broker has just dropped it
        return b""
