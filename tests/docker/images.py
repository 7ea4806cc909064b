"""Images hold what their service needs and nothing else, and run without rights."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

# Compose builds them, which takes minutes on a machine that has built none.
pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(1800)]

SERVICES = ("expiry", "delivery", "cleanup", "scheduler", "console", "migrations", "outside")
DOCKER = shutil.which("docker") or "docker"
IMPORTS = "import importlib.util, sys; print([m for m in sys.argv[1:] if importlib.util.find_spec(m)])"


def docker(*arguments: str) -> str:
    return subprocess.run([DOCKER, *arguments], capture_output=True, text=True, check=True).stdout


def image(service: str) -> str:
    return f"giftcard-jobs/{service}:0.1.0"


def python(service: str, *arguments: str) -> str:
    """Run Python in an image as strictly as in production."""
    strict = ["--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", "--entrypoint", "python"]
    return docker("run", *strict, image(service), *arguments)


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_nobody_and_says_what_it_is(service: str) -> None:
    config: Any = json.loads(docker("image", "inspect", image(service)))[0]["Config"]

    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"] == f"giftcard-jobs/{service}"
    assert config["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert not any("PASSWORD" in variable or "SECRET" in variable for variable in config["Env"])


@pytest.mark.parametrize(
    ("service", "there", "missing"),
    [
        ("expiry", ["dramatiq", "services.expiry"], ["twilio", "apscheduler", "alembic", "services.delivery"]),
        ("delivery", ["twilio", "services.delivery"], ["apscheduler", "alembic", "services.expiry"]),
        ("cleanup", ["dramatiq", "services.cleanup"], ["twilio", "alembic", "services.delivery"]),
        ("scheduler", ["apscheduler", "services.scheduler"], ["twilio", "alembic", "services.delivery"]),
        ("console", ["fastapi", "services.console"], ["twilio", "alembic", "services.delivery"]),
        ("migrations", ["alembic", "shared.migrations"], ["twilio", "apscheduler", "services.delivery"]),
    ],
)
def test_an_image_has_its_own_packages_and_no_others(service: str, there: list[str], missing: list[str]) -> None:
    never = ["pip", "pytest", "mypy", "tests"]
    found = python(service, "-c", IMPORTS, *there, *[name.partition(".")[0] for name in never])
    absent = python(service, "-c", f"import services; {IMPORTS}", *missing)

    assert json.loads(found.replace("'", '"')) == there
    assert absent.strip() == "[]"


def test_sizes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    base = int(docker("image", "inspect", "--format", "{{.Size}}", "python:3.13-slim"))
    sizes = {service: int(docker("image", "inspect", "--format", "{{.Size}}", image(service))) for service in SERVICES}

    with capsys.disabled():
        print(f"\npython:3.13-slim {base / 1e6:.0f} MB; above it:")
        for service, size in sizes.items():
            print(f"  {service:<11}{(size - base) / 1e6:4.0f} MB")
    assert max(sizes.values()) - base < 300e6
