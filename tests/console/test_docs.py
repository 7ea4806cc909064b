"""The pages tell the truth: their code runs, their commands exist, and no message, reason or event is left out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import UUID

import psycopg
import pytest
from prometheus_client import REGISTRY
from typer.testing import CliRunner

import services.cleanup.actors
import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from services.console.cli import app
from shared.messages import MESSAGES, QUEUES
from shared.packets import Packet
from shared.publisher import Publisher
from shared.secret_files import SUFFIX
from shared.settings import FOR_TESTS, Settings
from tests import packages, servers
from tests.kinds import Eventually, Issue, Sql, StartWorker

ROOT = Path(__file__).parents[2]
CARD = UUID("7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/contracts.md",
    "docs/operations.md",
    "docs/decisions.md",
    "docs/job_states.md",
    "docs/webhooks.md",
    "docs/failure_modes.md",
]
# How the code names an outcome: the first word that each of these is called with.
REASON = re.compile(r"\b(Skipped|Rejected|PermanentError|RetryLater|BadMessage)\(\s*\"([a-z_]+)\"")
NAMED_ELSEWHERE = {"sent_by_this_job"}  # never an outcome: the job that it names has succeeded


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)


@pytest.mark.parametrize("page", ["README.md", "docs/contracts.md"])
def test_the_python_on_a_page_runs(page: str, publisher: Publisher, card: Issue, sql: Sql) -> None:
    card(id=CARD)

    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), {})  # noqa: S102  # that is what is tested

    if page == "docs/contracts.md":
        [row] = sql("SELECT state FROM jobs WHERE dedupe_key = 'order:4713:sms'")
        assert row["state"] == "cancelled"


def test_what_the_readme_publishes_becomes_jobs(
    publisher: Publisher, worker: StartWorker, card: Issue, sql: Sql, eventually: Eventually
) -> None:
    card(id=CARD, recipient_email=None, expires_on=date.today() + timedelta(days=3000))
    worker("scheduled-delivery", "email-delivery")
    [code] = blocks("README.md", "python")
    [document] = blocks("README.md", "json")

    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  # that is what is tested
    next_year = document.replace('"deliver_local": "2027', f'"deliver_local": "{date.today().year + 1}')
    publisher.publish([Packet("scheduled-delivery", next_year.encode(), "x")])

    asked = "SELECT source, state FROM jobs WHERE name = 'deliver_gift_card' ORDER BY source"
    expected = [{"source": "checkout", "state": "scheduled"}, {"source": "orders", "state": "scheduled"}]
    eventually(lambda: sql(asked) == expected)


def test_the_curl_of_the_readme_publishes(publisher: Publisher, rabbitmq: str, tmp_path: Path) -> None:
    packages.need(partial(shutil.which, "curl"), "curl")
    page = urlsplit(servers.rabbitmq_server()[1])
    login, _, place = page.netloc.rpartition("@")
    [command] = [block for block in blocks("README.md", "sh") if block.startswith("curl")]
    vhost = quote(urlsplit(rabbitmq).path.removeprefix("/"), safe="")
    (tmp_path / "message.json").write_text(blocks("README.md", "json")[0])
    env = os.environ | {"RABBITMQ_LOGIN": login, "RABBITMQ_PAGE": f"http://{place}"}

    done = subprocess.run(
        ["/bin/bash", "-c", command.replace("%2F", vhost)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == '{"routed":true}', done.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/contracts.md", "docs/operations.md"])
def test_the_sql_on_a_page_runs(page: str, database: str, card: Issue) -> None:
    card(id=CARD)

    with psycopg.connect(database, autocommit=True) as connection:
        for block in blocks(page, "sql"):
            for statement in block.split(";\n"):  # one at a time, as psql does
                connection.execute(statement.encode())


def test_every_console_command_on_a_page_exists() -> None:
    names = {command.callback.__name__.replace("_", "-") for command in app.registered_commands if command.callback}
    for page in PAGES:
        text = (ROOT / page).read_text()
        used = re.findall(r"(?:services\.console\.cli |`console |^(?:\$ )?console )([a-z-]+)", text, re.M)
        assert set(used) <= names, page


def test_every_example_in_a_commands_help_is_accepted() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        name, text = command.callback.__name__.replace("_", "-"), command.callback.__doc__ or ""
        examples = re.findall(r"Example: (.+)", text)
        assert examples, f"{name} shows no example"
        for example in examples:
            assert shlex.split(example)[0] == name
            shown = CliRunner().invoke(app, [*shlex.split(example), "--help"])
            assert shown.exit_code == 0, example


def test_every_message_has_a_section_with_its_fields_and_queue() -> None:
    page = (ROOT / "docs/contracts.md").read_text()
    for name, message in MESSAGES.items():
        section = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
        assert section, f"docs/contracts.md has no section on {name}"
        assert f"`{name}`](#{name}) | `{message.queue}`" in page
        if name != "send_gift_card_sms":  # its fields are those of the e-mail's section
            missing = [field for field in message.model_fields if f"`{field}`" not in section]
            assert not missing, f"docs/contracts.md does not say what {missing} of {name} is"


def test_every_reason_in_the_code_is_explained() -> None:
    page = (ROOT / "docs/contracts.md").read_text()
    code = "\n".join(file.read_text() for part in ("shared", "services") for file in (ROOT / part).rglob("*.py"))
    reasons = {reason for _, reason in REASON.findall(code)} - NAMED_ELSEWHERE
    explained = set(re.findall(r"[`(]([a-z_]+)[`)]", page))
    missing = sorted(reasons - explained)
    assert missing == [], f"docs/contracts.md does not explain {', '.join(missing)}"


def test_the_job_that_contributing_adds_works_in_a_copy_of_this_repository(tmp_path: Path) -> None:
    message, actor, test = blocks("CONTRIBUTING.md", "python")
    for part in ("shared", "services", "tests", "deploy"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    _change(tmp_path / "shared/messages.py", {"\nQUEUES =": f"\n{message}\n\nQUEUES ="})
    imports = {
        "import Outcome, actor": "import Outcome, Skipped, actor",
        "PruneHistory\n": "ForgetSoftBounces, PruneHistory\n",
    }
    _change(tmp_path / "services/cleanup/actors.py", imports, append=f"\n\n{actor}")
    [granted] = re.findall(r"here `(.+?)` for cleanup", (ROOT / "CONTRIBUTING.md").read_text())
    _change(tmp_path / "shared/privileges.py", {'"cleanup": {\n': f'"cleanup": {{\n        {granted},\n'})
    (tmp_path / "tests/cleanup/test_soft_bounces.py").write_text(test)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JOBS_", "PYTEST_"))}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/cleanup/test_soft_bounces.py"],
        cwd=tmp_path,
        env=env | {"JOBS_TEST_DATABASE_URL": servers.database_server()},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def _change(file: Path, changes: dict[str, str], append: str = "") -> None:
    text = file.read_text()
    for old, new in changes.items():
        assert old in text, f"CONTRIBUTING.md speaks of another {file.name}"
        text = text.replace(old, new, 1)
    file.write_text(text + append)


def test_every_setting_and_metric_on_a_page_exists() -> None:
    metrics = {metric.name for metric in REGISTRY.collect()}
    settings = {f"JOBS_{name.upper()}" for name in Settings.model_fields} | FOR_TESTS
    for page in PAGES:
        text = (ROOT / page).read_text()
        named = {name.partition("__")[0].removesuffix(SUFFIX) for name in re.findall(r"\bJOBS_[A-Z_]*[A-Z]", text)}
        assert named <= settings, page
        assert {name.removesuffix("_total") for name in re.findall(r"\b[a-z_]+_total\b", text)} <= metrics, page


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_every_queue_is_named_to_senders() -> None:
    page = (ROOT / "docs/contracts.md").read_text()
    assert all(f"`{queue}`" in page for queue in QUEUES)
