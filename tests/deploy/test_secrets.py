"""Secrets are named and never kept: each that the manifests ask for is made by one command, and none is in git."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE
from typing import Any
from urllib.parse import urlsplit

import pytest
from argon2 import PasswordHasher

from deploy import secrets
from deploy.local.state import ROOT
from deploy.secrets import files
from shared.broker_users import PERMISSIONS
from shared.privileges import GRANTS, role
from shared.settings import Settings
from tests.deploy.manifests import OVERLAYS, built, environment, names, of_kind, pods, service

GIT = [shutil.which("git") or "git", "ls-files"]
MOUNT = "/run/secrets/jobs/"
# What looks like a secret of ours, or of those whom we deal with.
LOOKS_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[bp]-\w{10}|gh[pousr]_\w{36}|(?<!\w)SK[0-9a-f]{32}"
    r"|SG\.[\w-]{22}\.[\w-]{43}|(?:amqps?|postgres(?:ql)?)://\w+:(?!password@|guest@|secret|…)[\w-]{16,}@"
)
# What only a provider can give, where an overlay takes components/oidc.
GIVEN = {("staging", "console"): {"console_oidc"}}
# Keys of stand-ins and of tests, which open nothing.
KNOWN = {"tests/outside/twilio.py", "deploy/compose/settings.env"}


@pytest.fixture(scope="module")
def made() -> secrets.Secrets:
    return secrets.made()


def references(part: Any) -> set[str]:
    """Find the name of every Secret that a manifest refers to."""
    if isinstance(part, list):
        return {name for item in part for name in references(item)}
    if not isinstance(part, dict):
        return set()
    own = {part["secretName"]} if "secretName" in part else set()
    for key in ("importCredentialsSecret", "passwordSecret", "secret"):
        if isinstance(part.get(key), dict) and "name" in part[key]:
            own.add(part[key]["name"])
    own |= {target["name"] for target in part.get("secretTargetRef", [])}
    return own | {name for key, item in part.items() if key != "tls" for name in references(item)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_is_referred_to_is_made(overlay: str, made: secrets.Secrets) -> None:
    found = references(built(overlay))

    assert {f"giftcards-{name}" for name in ("expiry", "delivery", "webhooks", "migration")} <= found
    assert found - made.keys() == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_file_that_a_service_reads_is_a_key_of_its_own_secret(overlay: str, made: secrets.Secrets) -> None:
    for name, pod in pods(overlay).items():
        (volume,) = pod["spec"]["volumes"]
        given = GIVEN.get((overlay, name), set())
        files = {k: v for k, v in environment(service(pod)).items() if k.endswith("_FILE")}

        read = {path.removeprefix(MOUNT) for path in files.values()}
        assert read == made[volume["secret"]["secretName"]].keys() | given
        for variable, path in files.items():
            assert variable == f"JOBS_{path.removeprefix(MOUNT).upper()}_FILE"
            assert path.removeprefix(MOUNT) in Settings.model_fields


def test_external_secrets_bring_each_of_them(made: secrets.Secrets) -> None:
    brought = names("production", "ExternalSecret")

    assert references(built("production")) - brought == set()
    # Upstream runs elsewhere, and the console's first user is a person.
    assert brought == made.keys() - {"giftcards-upstream", "console-user-admin"}


def test_the_broker_has_the_users_and_permissions_that_the_code_says() -> None:
    found = {m["metadata"]["name"]: m["spec"]["permissions"] for m in of_kind("production", "Permission")}
    meant = {user: {"configure": p.configure, "write": p.write, "read": p.read} for user, p in secrets.USERS.items()}

    assert found == meant
    assert names("production", "User") == meant.keys()


def test_the_database_has_a_login_for_each_role_that_the_code_says() -> None:
    (cluster,) = of_kind("production", "Cluster")
    logins = {r["name"]: r["inRoles"] for r in cluster["spec"]["managed"]["roles"] if r["login"]}
    roles = {r["name"] for r in cluster["spec"]["managed"]["roles"] if not r["login"]}

    assert logins == {service: [role(service)] for service in GRANTS}
    assert roles == {role(service) for service in GRANTS}


def test_kubernetes_gets_them_as_manifests_and_never_the_same_twice(made: secrets.Secrets) -> None:
    items = secrets.kubernetes(made)["items"]

    assert {item["metadata"]["name"]: item["stringData"] for item in items} == made
    assert made["giftcards-expiry"] != secrets.made()["giftcards-expiry"]


def test_compose_gets_a_file_for_each_and_keeps_them_to_this_user(tmp_path: Path, made: secrets.Secrets) -> None:
    directory = tmp_path / "compose"

    files.write(directory, made)

    assert (directory / "expiry_database_url").read_text() == made["giftcards-expiry"]["database_url"]
    assert S_IMODE(directory.stat().st_mode) == 0o700
    logins = (directory / "logins.sql").read_text()
    assert "CREATE ROLE expiry LOGIN IN ROLE giftcards_expiry" in logins
    assert f"ALTER ROLE expiry PASSWORD '{made['database-user-expiry']['password']}'" in logins


def test_a_directory_of_an_older_version_of_compose_is_completed_and_keeps_its_passwords(tmp_path: Path) -> None:
    files.write(tmp_path, secrets.made())
    (tmp_path / "definitions.json").unlink()
    (tmp_path / "logins.sql").write_text("of before")
    for late in tmp_path.glob("console_*"):
        late.unlink()
    old = {path.name: path.read_text() for path in tmp_path.glob("*_*")}

    files.write(tmp_path, now := secrets.made())

    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {name: found[name] for name in old} == old
    assert found["console_database_url"] == now["giftcards-console"]["database_url"]
    for url in (text for name, text in found.items() if name.endswith("_database_url") and name[:9] != "migration"):
        assert f"ALTER ROLE {urlsplit(url).username} PASSWORD '{urlsplit(url).password}';" in found["logins.sql"]
    assert passwords_fit(found["definitions.json"], [found["expiry_rabbitmq_url"], found["console_rabbitmq_url"]])


def test_files_of_compose_that_are_no_use_alone_are_made_together(tmp_path: Path) -> None:
    files.write(tmp_path, secrets.made())
    (tmp_path / "console_password").unlink()
    (tmp_path / "webhooks_webhook_keys").unlink()

    files.write(tmp_path, now := secrets.made())

    users = json.loads((tmp_path / "console_console_users").read_text())
    assert PasswordHasher().verify(users["admin"]["password_hash"], (tmp_path / "console_password").read_text())
    assert (tmp_path / "delivery_webhook_keys").read_text() == now["giftcards-webhooks"]["webhook_keys"]


def test_the_consoles_first_user_signs_in_with_the_password_that_was_made(made: secrets.Secrets) -> None:
    [(login, user)] = json.loads(made["giftcards-console"]["console_users"]).items()

    assert made["console-user-admin"]["username"] == login
    assert PasswordHasher().verify(user["password_hash"], made["console-user-admin"]["password"])
    assert user["role"] == "admin"


def passwords_fit(definitions: str, urls: list[str]) -> bool:
    users = {user["name"]: b64decode(user["password_hash"]) for user in json.loads(definitions)["users"]}
    logins = [(users[str(url.username)], str(url.password).encode()) for url in map(urlsplit, urls)]
    return all(sha256(known[:4] + password).digest() == known[4:] for known, password in logins)


def test_the_broker_of_compose_knows_its_users_by_hashes(tmp_path: Path, made: secrets.Secrets) -> None:
    files.write(tmp_path / "compose", made)
    text = (tmp_path / "compose/definitions.json").read_text()
    users = {user["name"] for user in json.loads(text)["users"]}

    assert users == PERMISSIONS.keys() | {"keda"}
    urls = [f"amqp://{user}:{made[f'broker-user-{user}']['password']}@rabbitmq" for user in users]
    assert passwords_fit(text, urls)
    assert not any(str(urlsplit(url).password) in text for url in urls)


def test_no_secret_is_in_git() -> None:
    tracked = subprocess.run(GIT, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = {name: (ROOT / name).read_bytes().decode(errors="ignore") for name in tracked if (ROOT / name).is_file()}

    assert "deploy/secrets/files.py" in texts
    assert [name for name, text in texts.items() if LOOKS_SECRET.search(text) and name not in KNOWN] == []
    assert of_kind("production", "Secret") == of_kind("staging", "Secret") == []


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE" + " KEY-----",
        "postgresql://expiry:0123456789" + "abcdefg@db/x",
        "AKIA" + "ABCDEFGHIJKLMNOP",
    ],
)
def test_a_secret_would_be_seen(text: str) -> None:
    assert LOOKS_SECRET.search(text)
