"""Secrets come from variables or files, and go nowhere else: into no text, no log, no file of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from deploy.local import state
from shared.options import SmtpRelay
from shared.settings import Settings, settings
from tests.kinds import Setting
from tests.shared.test_settings import SECRET, refusal

SECRETS = sorted(name for name, field in Settings.model_fields.items() if "SecretStr" in repr(field))


def plain(value: Any) -> str:
    """Give what a setting hides: a secret, some of them, or relays with one each."""
    if isinstance(value, tuple):
        return " ".join(map(plain, value))
    return plain(value.password) if isinstance(value, SmtpRelay) else str(value.get_secret_value())


@pytest.mark.parametrize("name", [*SECRETS, "smtp_fallbacks"])
def test_every_secret_may_stand_in_a_file_and_is_shown_nowhere(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    url = f"{'postgresql' if 'database' in name else 'amqp'}://jobs:{SECRET}@host/x"
    listed = json.dumps([{"host": "relay", "password": SECRET}] if name == "smtp_fallbacks" else [SECRET])
    text = url if name.endswith("_url") else listed if name.endswith(("_keys", "_fallbacks")) else SECRET
    (tmp_path / "secret").write_text(f"{text}\n")
    monkeypatch.delenv(f"JOBS_{name.upper()}", raising=False)

    setting(**{f"{name}_file": tmp_path / "secret"})

    assert SECRET in plain(getattr(settings(), name))
    shown = [repr(settings()), str(settings()), settings().model_dump_json(), str(settings().model_dump())]
    assert SECRET not in " ".join([*shown, *os.environ.values()])


def test_no_secret_has_a_default() -> None:
    assert all(Settings.model_fields[name].get_default() in (None, (), PydanticUndefined) for name in SECRETS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read the file that JOBS_SMTP_PASSWORD_FILE names: No such file or directory; "),
        (b"", "the file that JOBS_SMTP_PASSWORD_FILE names is empty: "),
        (b" \n", "the file that JOBS_SMTP_PASSWORD_FILE names is empty: "),
        (f"{SECRET}\xff".encode("latin-1"), "cannot read the file that JOBS_SMTP_PASSWORD_FILE names: it is no UTF-8"),
    ],
)
def test_a_file_that_holds_no_secret_stops_the_process_with_its_settings_name(
    setting: Setting, tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / f"named-{SECRET}"  # as when somebody names the secret itself
    if content is not None:
        file.write_bytes(content)

    setting(smtp_password_file=file)

    assert refusal().startswith(says)
    assert SECRET not in refusal()


def test_a_directory_is_no_file(setting: Setting, tmp_path: Path) -> None:
    setting(smtp_password_file=tmp_path)

    assert "cannot read the file that JOBS_SMTP_PASSWORD_FILE names: Is a directory" in refusal()


def test_a_setting_and_its_file_are_not_both_taken(setting: Setting, tmp_path: Path) -> None:
    setting(smtp_password="one", smtp_password_file=tmp_path)

    assert refusal() == "JOBS_SMTP_PASSWORD and JOBS_SMTP_PASSWORD_FILE are both set: unset one of them"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("rabbitmq_url", f"amqp://jobs:{SECRET}/x@host/vhost"),
        ("rabbitmq_url", f"http://jobs:{SECRET}@host"),
        ("rabbitmq_url", f"amqp://jobs:{SECRET}@[host/vhost"),
        ("rabbitmq_url", ""),
        ("topology_url", f"jobs:{SECRET}@host"),
        ("database_url", f"postgresql://jobs:{SECRET}/x@host/name"),
        ("database_url", f"postgresql://jobs:%zz{SECRET}@host/name"),
        ("database_url", SECRET),
        ("database_url", ""),
    ],
)
def test_a_url_with_a_password_that_breaks_it_is_refused_without_repeating_it(
    setting: Setting, name: str, url: str
) -> None:
    setting(**{name: url})

    assert f"JOBS_{name.upper()}: Value error, not of the form " in refusal()
    assert SECRET not in refusal()


@pytest.mark.parametrize("url", ["postgresql:///name?host=/run/postgresql", "postgresql://a:1,b:2/name", "dbname=x"])
def test_other_forms_that_postgresql_knows_are_taken(setting: Setting, url: str) -> None:
    setting(database_url=url)

    assert settings().database_url.get_secret_value() == url


def test_a_wrong_setting_ends_the_process_without_a_word_of_the_secrets(tmp_path: Path) -> None:
    given = {
        "JOBS_DATABASE_URL": f"postgresql://jobs:{SECRET}/@host",
        "JOBS_RABBITMQ_URL": f"amqp://jobs:{SECRET}@host:x",
        "JOBS_CODE_KEYS": f'["{SECRET}"',
    }
    commands = (
        ["-m", "services.scheduler"],
        ["-m", "services.console.cli", "counts"],
        ["-m", "dramatiq", "services.expiry.actors"],
    )

    for command in commands:
        for number in range(len(given) + 1):
            env = os.environ | {"JOBS_DATABASE_URL": "postgresql://x", "JOBS_RABBITMQ_URL": "amqp://x"}
            env |= dict(list(given.items())[number : number + 1] or {"JOBS_LEASE": SECRET})
            done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=60)
            assert done.returncode != 0
            assert "JOBS_" in done.stderr + done.stdout or "field" in done.stderr, done.stderr
            assert SECRET not in done.stderr + done.stdout


# A URL with a password in it, a constant that is one, or a variable that is set to one. Placeholders pass.
PASSWORD = re.compile(
    r"\w+://[^\s/:@'\"]*:(?!password@|PASSWORD@|p4ss|…|\{|\$)[^\s/:@'\"]+@"
    r"|(?i:password|passwd|secret|token|api_key)\w*[\"']?\s*[:=]\s*[\"'](?![\"'{$…])[^\"'\s]{3,}[\"']"
    r"|(?m:^[\s#-]*[A-Z_]*(?:PASS|SECRET|TOKEN)[A-Z_]*[ \t]*[:=][ \t]*(?=\w*[a-z])\w+$)"
)
LIST = ("/usr/bin/env", "git", "ls-files")


def test_no_file_outside_the_tests_carries_a_password() -> None:
    found = []
    for file in subprocess.check_output(LIST, cwd=state.ROOT, text=True).splitlines():
        if not file.startswith(("tests/", "requirements", "docs/contracts/", "services/delivery/templates/")):
            text = (state.ROOT / file).read_text(errors="replace")
            found += [f"{file}: {match.group(0)}" for match in PASSWORD.finditer(text)]

    assert found == []
