"""A shop whose processes die at a named point, twenty times each, and come back afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from shared import db
from shared.invariants import violations
from shared.publisher import Publisher
from tests.kinds import Setting, Sql

KILLS = 20
UNFINISHED = "SELECT state, reason, name FROM jobs WHERE finished_at IS NULL"
# What a test need not wait for: leases end, and what was put off is due.
LATER = """
UPDATE jobs SET lease_until = CASE WHEN state = 'running' THEN clock_timestamp() END, run_at = clock_timestamp()
WHERE state IN ('running', 'scheduled')
"""


class Run(Protocol):
    def __call__(self, do: str, *given: str, failpoints: str = ...) -> dict[str, Any]: ...


class Die(Protocol):
    def __call__(self, point: str, do: str, *given: str, times: int = ...) -> None: ...


class Recover(Protocol):
    def __call__(self, *queues: str) -> None: ...


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., dict[str, Any]]]:
    """Keep a warm process from which children are forked; it is given one request at a time."""
    log = tmp_path_factory.mktemp("nursery") / "children.log"
    command = [sys.executable, "-m", "tests.failpoints.nursery"]
    env = {name: value for name, value in os.environ.items() if name != "JOBS_FAILPOINTS"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
    with log.open("w") as errors, subprocess.Popen(command, stderr=errors, **pipes) as parent:

        def ask(**request: Any) -> dict[str, Any]:
            assert parent.stdin
            assert parent.stdout
            print(json.dumps(request), file=parent.stdin, flush=True)
            answer: dict[str, Any] = json.loads(parent.stdout.readline())
            return answer | {"log": str(log)}

        yield ask


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Give the file in which each process writes where it is about to die; the disk has it before the kill."""
    return tmp_path / "deaths"


@pytest.fixture
def run(nursery: Callable[..., dict[str, Any]], publisher: Publisher, setting: Setting, journal: Path) -> Run:
    """Let a process do a piece of work, and give how it ended: ``run("relay", failpoints="relay-claimed=kill")``."""
    setting(http_port=0, log_level="ERROR", max_stalls=9)

    def process(do: str, *given: str, failpoints: str = "") -> dict[str, Any]:
        armed = {"JOBS_FAILPOINTS": failpoints, "JOBS_FAILPOINTS_JOURNAL": str(journal)}
        return nursery(env={**os.environ, **armed}, do=do, given=given)

    return process


@pytest.fixture
def die(run: Run, journal: Path) -> Die:
    """Let so many processes, one after the other, die at a point; none of them may end otherwise."""

    def process(point: str, do: str, *given: str, times: int = KILLS) -> None:
        before = _deaths(journal)
        ends = [run(do, *given, failpoints=f"{point}=kill") for _ in range(times)]
        assert [end.get("ended") for end in ends] == [-9] * times, f"see {ends[0]['log']}"
        assert _deaths(journal)[len(before) :] == [f"{point} {end['pid']}" for end in ends]

    return process


def _deaths(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


@pytest.fixture
def recover(run: Run, sql: Sql) -> Recover:
    """Let scheduler and workers run unharmed until every job has ended; nothing promised is broken then."""

    def until_final(*queues: str) -> None:
        for _ in range(20):
            sql(LATER)
            for work in (("rescue",), ("relay",), ("consume", *queues)):
                assert (ended := run(*work))["ended"] == 0, f"{work}: see {ended['log']}"
            if not sql(UNFINISHED):
                break
        assert sql(UNFINISHED) == []
        with db.transaction() as connection:
            assert {name: count for name, count in violations(connection).items() if count} == {}

    return until_final
