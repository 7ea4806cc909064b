"""The table of points is the code's: each is met, described, and killed at; and none can be armed by mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared import failpoints
from shared.failpoints import POINTS, arm, failpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _disarmed() -> object:
    yield
    arm("")


def words(pattern: str, *folders: str) -> set[str]:
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    return {word for file in files for word in re.findall(pattern, file.read_text())}


def test_every_point_is_in_the_code_and_every_point_of_the_code_is_in_the_table() -> None:
    assert words(r"\bfailpoint\(\"([a-z-]+)\"\)", "shared", "services") == set(POINTS)


def test_processes_are_killed_at_every_point() -> None:
    killed = words(r"\bdie\(\"([a-z-]+)\"", "tests/failpoints")
    parameters = words(r"\"([a-z-]+)\"", "tests/failpoints")  # where a test is given its points

    assert set(POINTS) <= killed | parameters


def test_every_point_is_described_to_operators_as_in_the_code() -> None:
    page = (ROOT / "docs/failure_modes.md").read_text()

    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|$", page, re.M)) == POINTS


def test_a_point_that_is_not_armed_does_nothing() -> None:
    arm("sending=kill")

    for name in POINTS.keys() - {"sending"}:
        failpoint(name)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("claimd=kill", r"no point is called 'claimd': use one of relay-claimed, .*claimed, "),
        ("claimed", r"claimed cannot '': use claimed=kill or claimed=stop"),
        ("claimed=explode", r"claimed cannot 'explode'"),
    ],
)
def test_what_cannot_be_armed_stops_the_process_and_says_what_can(wanted: str, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        arm(wanted)


def test_an_image_without_tests_refuses_to_be_armed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(failpoints, "TESTS", tmp_path / "tests")

    with pytest.raises(SystemExit, match="for test builds, and this is none"):
        arm("claimed=kill")
    arm("")
