"""From nothing to a delivered card by docs/contracts.md alone: its commands as they stand, in a new checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from deploy.local import stack
from deploy.local.state import ROOT
from tests import servers
from tests.kinds import Eventually

# One stack for all of them, so one process runs them all.
pytestmark = [pytest.mark.xdist_group("five minutes"), pytest.mark.timeout(300)]

PAGE = (ROOT / "docs/contracts.md").read_text()
SECTION = PAGE.partition("## From nothing to a delivered card\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.M | re.S)
UP, PYTHON, NODE, SQL, CURL, LOOK = [block for language, block in BLOCKS if language == "sh"]
[SAID] = [block.strip() for language, block in BLOCKS if not language]
NOT_COPIED = (".venv", ".git", ".local", "node_modules", "__pycache__", ".*_cache", ".hypothesis", "results")

Type = Callable[..., str]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Type]:
    """Type commands into a shell, one after another as given, in a new checkout whose stack runs."""
    checkout = tmp_path_factory.mktemp("new") / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (checkout / ".venv").symlink_to((ROOT / ".venv").resolve())
    with servers.fresh_database() as database, servers.fresh_vhost() as broker:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("JOBS_", "PYTEST_"))}
        env = mine | {"JOBS_DATABASE_URL": database, "JOBS_RABBITMQ_URL": broker}

        def run(*commands: str) -> str:
            script = "\n".join(("set -e", *commands))
            done = subprocess.run(
                ["/bin/bash", "-c", script], cwd=checkout, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        try:
            run(UP)
            yield run
        finally:
            stack.delete(checkout / ".local" / "stack")


@pytest.mark.parametrize(
    ("program", "asks"),
    [("python3", PYTHON), ("npm", NODE), ("psql", SQL), ("curl", CURL)],
    ids=["Python", "Node.js", "SQL", "curl"],
)
def test_a_card_is_delivered_by_what_the_page_says(
    program: str, asks: str, typed: Type, eventually: Eventually
) -> None:
    if not shutil.which(program):
        pytest.skip(f"no {program} here")
    came_in = UP.replace("make up", "")
    card = typed(came_in, asks, "echo; echo $CARD").split()[-1]

    eventually(lambda: SAID in typed(came_in, f"CARD={card}", LOOK))


def test_every_sample_of_the_page_is_run_by_some_test() -> None:
    languages = re.findall(r"^```(\w+)$", PAGE, re.M)

    assert set(languages) <= {"sh", "python", "sql"}, "tests/console/test_docs.py runs Python and SQL"
    assert languages.count("sh") == len([UP, PYTHON, NODE, SQL, CURL, LOOK]), "this file runs those of its section only"
