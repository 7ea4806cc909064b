"""Files that no Python tool reads are checked by the tool that knows them."""

from __future__ import annotations

import subprocess

import pytest

from deploy.local.state import ROOT
from tests.deploy.manifests import PROGRAMS

OURS = [ROOT / ".ci/run", *(ROOT / "deploy").rglob("*.sh")]


def complaints(program: str, *arguments: object) -> str:
    """Give what a checker says of files, empty when it is content."""
    command = [str(PROGRAMS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
def test_shell_scripts_have_no_known_trap(script: object) -> None:
    assert complaints("shellcheck", script) == ""
