"""The stack runs once, in the servers it was given, and none of its services outlives it."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local import commands, processes, stack, supervision
from deploy.local.errors import StartFailed
from tests import servers

pytestmark = pytest.mark.usefixtures("small_services", "given_servers")


@pytest.fixture
def given_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Name servers in the environment, as somebody with own servers does."""
    with servers.fresh_database() as database, servers.fresh_vhost() as broker:
        urls = {"JOBS_DATABASE_URL": database, "JOBS_RABBITMQ_URL": broker}
        for name, url in urls.items():
            monkeypatch.setenv(name, url)
        yield urls


def pids(found: stack.Stack) -> set[int]:
    return {service.pid for service in found.services.values()}


def test_servers_that_the_environment_names_win(stack_directory: Path, given_servers: dict[str, str]) -> None:
    found = stack.up(stack_directory)

    assert found.env.items() >= given_servers.items()
    assert found.servers == {"postgres": None, "rabbitmq": None}
    assert not (stack_directory / "postgres").exists()
    assert not (stack_directory / "rabbitmq").exists()


def test_a_second_start_changes_nothing(stack_directory: Path) -> None:
    first = stack.up(stack_directory)
    second = stack.up(stack_directory)

    assert first.well
    assert pids(second) == pids(first)
    assert second.env == first.env


def test_other_settings_replace_the_services(stack_directory: Path) -> None:
    first = stack.up(stack_directory)
    second = stack.up(stack_directory, extra_env={"JOBS_LOG_LEVEL": "DEBUG"})

    assert not pids(second) & pids(first)


def test_a_service_that_is_killed_comes_back(stack_directory: Path) -> None:
    victim = stack.up(stack_directory).services["expiry"]

    os.kill(victim.pid, signal.SIGKILL)
    while stack.look(stack_directory).services["expiry"].pid in (victim.pid, 0):
        pass

    assert stack.up(stack_directory).well


@pytest.mark.parametrize("then", [stack.down, stack.up])
def test_services_whose_supervisor_was_killed_do_not_live_on(
    stack_directory: Path, then: Callable[[Path], object]
) -> None:
    orphans = pids(stack.up(stack_directory))
    supervisor = processes.recorded(stack_directory / "supervisord.json")
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)

    then(stack_directory)

    assert not orphans & {process.pid for process in processes.marked(stack_directory)}


def test_down_leaves_no_process_and_may_be_said_twice(stack_directory: Path) -> None:
    stack.up(stack_directory)

    stack.down(stack_directory)
    stack.down(stack_directory)

    assert processes.marked(stack_directory) == []
    assert not stack.look(stack_directory).well
    assert not supervision.running(stack_directory)


def test_settings_are_written_for_a_shell_and_for_its_owner_only(stack_directory: Path) -> None:
    found = stack.up(stack_directory)

    file = stack_directory / "env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [line.split("=")[0] for line in file.read_text().splitlines()] == list(found.env)


def test_a_service_that_cannot_start_is_named_with_its_last_words(
    stack_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.local.conftest.COMMAND", (sys.executable, "-c", "raise SystemExit('the reason')"))

    with pytest.raises(StartFailed, match=r"(?s)outside is not ready.*the reason"):
        stack.up(stack_directory)


def test_status_prints_pages_but_no_password_and_fails_when_a_service_is_down(
    stack_directory: Path, monkeypatch: pytest.MonkeyPatch, given_servers: dict[str, str]
) -> None:
    found = stack.up(stack_directory)
    monkeypatch.setattr(stack.look, "__defaults__", (stack_directory,))

    running = CliRunner().invoke(commands.app, ["status"])
    stack.down(stack_directory)
    stopped = CliRunner().invoke(commands.app, ["status"])

    assert running.exit_code == 0
    assert stopped.exit_code == 1
    assert found.services["expiry"].url in running.output
    assert given_servers["JOBS_DATABASE_URL"].split(":")[2].split("@")[0] not in running.output
