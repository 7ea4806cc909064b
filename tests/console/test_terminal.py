"""What a sender chose (a key, a source, a name) is shown to an operator, and does nothing to the terminal."""

from __future__ import annotations

import pytest

from tests.console.conftest import Cli, Made

# Clear the screen, a new line with a forged row, a title of the window, words from right to left, rich's own markup.
HOSTILE = "\x1b[2J\x1b]0;mine\x07[red]x[/red][link=https://x]y\n  succeeded\u202edeliaf\x9b31m"


@pytest.mark.parametrize("command", ["jobs", "job", "failed", "rejected"])
def test_control_characters_of_senders_are_shown_as_such(cli: Cli, made: Made, command: str) -> None:
    state = "rejected" if command == "rejected" else "failed"
    job_id = made(state, source=HOSTILE, error=HOSTILE, reason="invalid", dedupe_key=HOSTILE)

    result = cli(command, *([job_id] if command == "job" else []))

    assert result.exit_code == 0, result.output
    assert "invalid" in result.output
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(result.output)
    assert "\n  succeeded" not in result.output
    if command != "jobs":
        assert "[red]x[/red][link=https://x]y" in result.output.replace("\n", "")


def test_so_are_those_of_json(cli: Cli, made: Made) -> None:
    made("failed", source=HOSTILE, error=HOSTILE, dedupe_key=HOSTILE)

    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(cli("failed", "--json").output)
