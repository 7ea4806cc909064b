"""A service waits until the database is as new as its code, and sees that with its own role."""

from __future__ import annotations

import subprocess
import sys

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from deploy.local.state import ROOT
from shared import revision
from tests import servers
from tests.kinds import Eventually, Setting, Sql

WAIT = [sys.executable, "-m", "shared.revision"]


def test_what_is_needed_is_the_newest_migration() -> None:
    scripts = ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml"))

    assert revision.needed() == scripts.get_current_head()


@pytest.mark.parametrize("found", [None, "9999"])
def test_a_database_as_new_as_the_code_or_newer_is_waited_for_no_more(
    database: str, sql: Sql, setting: Setting, found: str | None
) -> None:
    if found:
        sql("UPDATE alembic_version SET version_num = %s", found)
    setting(database_url=servers.as_service(database, "webhooks"))

    assert revision.reached() >= revision.needed()
    assert subprocess.run(WAIT, timeout=60, check=False).returncode == 0


def test_an_older_database_is_waited_for(database: str, sql: Sql, eventually: Eventually) -> None:
    sql("UPDATE alembic_version SET version_num = '0001'")

    with subprocess.Popen(WAIT, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert '"found": "0001"' in waiting.stderr.readline()
        sql("UPDATE alembic_version SET version_num = %s", revision.needed())

        eventually(lambda: waiting.poll() == 0)


def test_a_database_that_is_away_or_has_no_tables_is_not_ready(setting: Setting) -> None:
    setting(database_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")

    assert revision.reached() == ""
