"""The wheel: built, installed into an empty environment, and used as another team would."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from uuid import uuid4

import pytest

from shared.publisher import Publisher
from tests.kinds import Sql

pytestmark = pytest.mark.xdist_group("wheel")  # one worker builds it, for all of them
ROOT = Path(__file__).parents[2]
PUBLISH = """
import sys
from uuid import UUID
from giftcard_jobs.messages import ExpireGiftCard
from giftcard_jobs.publisher import Publisher

with Publisher(sys.argv[1], source="another-team") as publisher:
    print(publisher.send(ExpireGiftCard(gift_card_id=UUID(sys.argv[2])), dedupe_key="once"))
    print(*publisher.send_many(ExpireGiftCard(gift_card_id=UUID(sys.argv[2])) for _ in range(50)))
"""
TEST = """
from uuid import UUID
from giftcard_jobs.messages import ExpireGiftCard, SendGiftCardSms
from giftcard_jobs.testing import RecordingPublisher

publisher = RecordingPublisher(source="shop")
publisher.send(ExpireGiftCard(gift_card_id=UUID(int=1)), priority="urgent")
assert publisher.only(ExpireGiftCard, gift_card_id=UUID(int=1)).expiry_version is None
assert publisher.sent[0].priority == "urgent"
publisher.nothing(SendGiftCardSms)
try:
    publisher.only(SendGiftCardSms)
except AssertionError as error:
    assert "0 times SendGiftCardSms" in str(error) and "ExpireGiftCard(" in str(error), error
else:
    raise SystemExit("nothing was missed")
"""
LOADED = """
import sys
before = set(sys.modules)
def say():
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    loaded -= sys.stdlib_module_names | set(sys.argv[1:])
    print(*sorted(name for name in loaded if not name.startswith("_sysconfigdata")))
import giftcard_jobs.messages, giftcard_jobs.publisher, giftcard_jobs.enqueue
say()
giftcard_jobs.publisher.Publisher("amqp://localhost")
say()
"""
# pydantic's own parts, and what it brings along.
PYDANTIC = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, and give the interpreter of a new environment that has it and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    venv.create(folder / "env", with_pip=False)
    [wheel] = folder.glob("giftcard_jobs-*.whl")
    run(*pip, f"--python={folder / 'env'}", "install", str(wheel), env=dict(os.environ))
    return folder / "env/bin/python"


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=env, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_publishes_from_an_environment_that_has_nothing_else(
    python: Path, publisher: Publisher, rabbitmq: str, sql: Sql
) -> None:
    ids = run(str(python), "-I", "-c", PUBLISH, rabbitmq, str(uuid4())).split()

    assert len(set(ids)) == 51


def test_another_team_can_ask_its_tests_what_was_published(python: Path) -> None:
    run(str(python), "-I", "-c", TEST)


def test_it_loads_pydantic_and_nothing_else_and_pika_once_somebody_publishes(python: Path) -> None:
    assert run(str(python), "-I", "-c", LOADED, *PYDANTIC).splitlines() == ["giftcard_jobs", "giftcard_jobs pika"]


def test_it_is_typed(python: Path) -> None:
    found = run(str(python), "-I", "-c", "import giftcard_jobs; print(giftcard_jobs.__file__)").strip()

    assert Path(found).with_name("py.typed").exists()
