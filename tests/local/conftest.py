"""Directories of their own for servers and stacks, emptied of processes and data afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import postgres, rabbitmq, services, stack, state
from deploy.local.supervision import Program

COMMAND = (sys.executable, "-m", "tests.local.ready")


@pytest.fixture
def postgres_directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "postgres"
    yield directory
    postgres.delete(directory)


@pytest.fixture
def rabbitmq_directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "rabbitmq"
    yield directory
    rabbitmq.delete(directory)


@pytest.fixture
def stack_directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "stack"
    yield directory
    stack.delete(directory)


@pytest.fixture
def small_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stack have two services that only say that they are ready."""

    def plan(directory: Path, schedulers: int, own: object) -> list[Program]:
        names = ("outside", "expiry")
        known = state.read(directory).get("ports", {})
        ports = known if set(names) <= known.keys() else state.ports(directory, *services.SIDE_PORTS, *names)
        logs = directory / "logs"
        return [Program(name, COMMAND, ports[name], logs / f"{name}.log") for name in names]

    monkeypatch.setattr(services, "plan", plan)
