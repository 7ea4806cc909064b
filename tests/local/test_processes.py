"""Only what was started here is ever ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from deploy.local import processes
from deploy.local.processes import Process

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def spawn(directory: Path) -> Process:
    environment = dict(os.environ)
    record, log = directory / "pid.json", directory / "log"
    return processes.spawn(SLEEP, record=record, log=log, mark=directory, env=environment, cwd=directory)


def test_a_process_is_found_by_its_record_and_by_its_mark(tmp_path: Path) -> None:
    process = spawn(tmp_path)

    found = processes.recorded(tmp_path / "pid.json"), processes.marked(tmp_path)

    processes.end(process)
    assert found == (process, [process])
    assert processes.recorded(tmp_path / "pid.json") is None
    assert processes.marked(tmp_path) == []


def test_a_pid_that_belongs_to_another_program_by_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:  # our own words
        record = tmp_path / "pid.json"
        record.write_text(json.dumps({"pid": stranger.pid, "born": "another boot/1"}))

        processes.end(Process(stranger.pid, "another boot/1"))

        assert processes.recorded(record) is None
        assert stranger.poll() is None
        stranger.kill()


def test_a_process_that_was_killed_counts_as_ended_at_once(tmp_path: Path) -> None:
    process = spawn(tmp_path)

    os.kill(process.pid, signal.SIGKILL)
    processes.end(process)

    assert not process.alive


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    command = (
        sys.executable,
        "-c",
        "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()",
    )
    log = tmp_path / "log"
    process = processes.spawn(
        command, record=tmp_path / "pid.json", log=log, mark=tmp_path, env=dict(os.environ), cwd=tmp_path
    )
    while not log.read_text():
        pass

    processes.end(process, grace_s=0.1)

    assert not process.alive
