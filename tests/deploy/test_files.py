"""Files that no Python tool reads are checked by the tool that knows them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.local.state import ROOT
from tests.deploy.manifests import PROGRAMS

DOCKERFILES = [*(ROOT / "deploy").rglob("Dockerfile")]
OURS = [ROOT / ".ci/run", *(ROOT / "deploy").rglob("*.sh")]


def complaints(program: str, *arguments: object) -> str:
    """Give what a checker says of files, empty when it is content."""
    command = [str(PROGRAMS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
def test_shell_scripts_have_no_known_trap(script: object) -> None:
    assert complaints("shellcheck", script) == ""


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfiles_have_no_known_trap(file: object) -> None:
    assert complaints("hadolint", file) == ""


def test_the_dockerfile_needs_no_new_engine() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()

    assert "syntax=" not in text
    assert "<<" not in text
    assert "ARG PYTHON_IMAGE=python:3.13-slim" in text


def test_compose_takes_the_file() -> None:
    assert complaints("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml") == ""


def test_compose_opens_nothing_to_the_network_and_limits_everything() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    for name, service in services.items():
        assert service["mem_limit"], name
        assert "latest" not in service["image"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service.get("read_only") or name in ("postgres", "rabbitmq"), name
        assert "healthcheck" in service or name == "migration", name


def test_each_image_is_locked_to_versions_of_the_one_lock_file() -> None:
    locked = pins(ROOT / "requirements.txt")
    images = {path.stem: pins(path) for path in (ROOT / "deploy/requirements").glob("*.txt")}

    assert images.keys() == {"expiry", "delivery", "cleanup", "scheduler", "console", "migrations", "outside"}
    assert [name for name, found in images.items() if found - locked] == []


def pins(path: Path) -> set[str]:
    return set(re.findall(r"^[a-z0-9-]+==[^ ;\\]+", path.read_text(), re.MULTILINE))
