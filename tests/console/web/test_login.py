"""Signing in: by password only, with few guesses, into a session that ends."""

from __future__ import annotations

import json
import time

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.console.app import application
from services.console.web import sessions, users
from shared.secret_files import SettingsError
from shared.settings import settings
from tests.console.conftest import Cli
from tests.console.web.conftest import PASSWORD, Browser, sign_in
from tests.console.web.conftest import users as of_the_settings
from tests.kinds import Setting, Sql


def test_a_right_password_opens_the_console(browser: Browser) -> None:
    client = browser()

    answer = sign_in(client, "vera")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "Queues" in client.get("/").text


@pytest.mark.parametrize(("login", "password"), [("vera", "wrong"), ("nobody", PASSWORD), ("", PASSWORD), ("vera", "")])
def test_a_wrong_one_opens_nothing(browser: Browser, login: str, password: str) -> None:
    client = browser()

    answer = sign_in(client, login, password)

    assert answer.status_code in (401, 422)
    assert client.get("/").status_code == 303


def test_after_five_wrong_ones_not_even_the_right_one_is_tried(browser: Browser, sql: Sql) -> None:
    for _ in range(5):
        assert sign_in(browser(), "otto", "guess").status_code == 401

    answer = sign_in(browser(), "otto")

    assert answer.status_code == 429
    assert "too many wrong passwords" in answer.text
    assert 25 <= int(answer.headers["Retry-After"]) <= 30
    assert sign_in(browser(), "vera").status_code == 303  # others are not locked out


def test_a_lock_holds_at_every_replica_and_for_programs(app: FastAPI, browser: Browser) -> None:
    for _ in range(5):
        sign_in(browser(), "otto", "guess")

    with TestClient(application(), "http://127.0.0.1:8090") as another:
        answer = another.get("/api/v1/me", auth=("otto", PASSWORD))

    assert answer.status_code == 429


def test_a_lock_ends_by_itself_and_the_next_wrong_one_locks_twice_as_long(browser: Browser, sql: Sql) -> None:
    for _ in range(5):
        sign_in(browser(), "otto", "guess")
    sql("UPDATE login_attempts SET locked_until = clock_timestamp() WHERE key = 'login:otto'")

    sign_in(browser(), "otto", "guess")

    [row] = sql(
        "SELECT extract(epoch FROM locked_until - last_at)::float AS s FROM login_attempts WHERE key = 'login:otto'"
    )
    assert row["s"] == pytest.approx(60, abs=1)


def test_the_right_one_forgets_the_wrong_ones_of_its_login(browser: Browser, sql: Sql) -> None:
    for _ in range(3):
        sign_in(browser(), "otto", "guess")

    sign_in(browser(), "otto")

    assert sql("SELECT key, failures FROM login_attempts") == [{"key": "from:192.0.2.1", "failures": 3}]


def test_an_address_that_guesses_at_many_logins_is_locked_out(browser: Browser, sql: Sql) -> None:
    sign_in(browser(), "nobody", "guess")
    sql("UPDATE login_attempts SET failures = 29 WHERE key = 'from:192.0.2.1'")

    sign_in(browser(), "nobody", "guess")

    assert sign_in(browser(), "vera").status_code == 429


def test_whoever_does_not_exist_costs_the_same_work(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    class Counted:
        def verify(self, hashed: str, password: str) -> bool:
            checked.append(hashed)
            return True  # even if somebody else's password fits

    monkeypatch.setattr(users, "_HASHER", Counted())

    answer = sign_in(browser(), "nobody")

    assert answer.status_code == 401
    assert len(checked) == 1


def test_a_session_ends_with_its_time(browser: Browser, setting: Setting) -> None:
    client = browser("vera")
    setting(console_session_s=1)
    time.sleep(2.1)  # whole seconds are counted

    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"console_keys": '["another"]'},
        {"console_users": '{"otto": {"role": "viewer", "password_hash": "$argon2id$another"}}'},
        {"console_users": "{}"},
    ],
    ids=["its key is gone", "the password is another", "the user is gone"],
)
def test_a_session_ends_when(browser: Browser, setting: Setting, change: dict[str, str]) -> None:
    client = browser("otto")

    setting(**change)

    assert client.get("/").status_code == 303


def test_a_key_may_be_replaced_while_people_work(browser: Browser, setting: Setting) -> None:
    client = browser("otto")

    setting(console_keys='["a newer one", "of these tests"]')

    assert client.get("/").status_code == 200


def test_a_role_is_that_of_the_settings_at_each_request(browser: Browser, setting: Setting) -> None:
    client = browser("otto")

    setting(console_users=of_the_settings().replace('"operator"', '"viewer"'))

    assert client.post("/acts/pause_queue", data={}).status_code == 403


def test_signing_out_takes_the_cookie(browser: Browser) -> None:
    client = browser("vera")

    client.post("/logout")

    assert client.get("/").status_code == 303


def test_signing_in_is_no_way_into_somebody_elses_session(browser: Browser) -> None:
    client = browser()
    client.get("/login")
    before = dict(client.cookies)

    sign_in(client, "vera")

    assert dict(client.cookies) != before
    assert client.post("/login", data={"csrf": "none", "login": "vera", "password": PASSWORD}).status_code == 403


def test_a_cookie_is_for_our_pages_only(browser: Browser, setting: Setting) -> None:
    here = browser().get("/login").headers["Set-Cookie"]
    setting(console_url="https://console.example.com")
    there = browser().get("/login").headers["Set-Cookie"]

    assert "HttpOnly" in here
    assert "SameSite=lax" in here
    assert there.startswith("__Host-console-session=")
    assert "Secure" in there


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example/x", "/\\evil.example", "javascript:alert(1)"]
)
def test_nobody_is_led_elsewhere_after_signing_in(browser: Browser, wanted: str) -> None:
    client = browser()
    csrf = client.get("/login").text.partition('name="csrf" value="')[2].partition('"')[0]

    answer = client.post("/login", data={"csrf": csrf, "login": "vera", "password": PASSWORD, "next": wanted})

    assert answer.headers["Location"].startswith("/")
    assert not answer.headers["Location"].startswith(("//", "/\\"))


def test_a_line_to_show_cannot_be_made_by_others(browser: Browser) -> None:
    client = browser("vera")

    client.cookies.set("console-said", "call this number")

    assert "call this number" not in client.get("/").text
    assert sessions.SAID_S == 60


def test_a_command_makes_the_hash_that_the_settings_take(
    cli: Cli, browser: Browser, setting: Setting, app: FastAPI
) -> None:
    typed = cli("password", answer="four words by chance\nfour words by chance\n")
    made = typed.stdout.strip().splitlines()[-1]

    setting(console_users=json.dumps({"grace": {"role": "viewer", "password_hash": made}}))

    assert sign_in(browser(), "grace", "four words by chance").status_code == 303


def test_a_short_password_is_no_password(cli: Cli) -> None:
    typed = cli("password", answer="short\nshort\n")

    assert typed.exit_code == 1
    assert "12 characters" in typed.output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("console_url", "http://console.example.com"),
        ("console_users", '{"ada": {"role": "root", "password_hash": "$argon2id$x"}}'),
        ("console_users", '{"ada": {"role": "admin", "password_hash": "hunter2"}}'),
        ("console_users", '{"a@b": {"role": "admin", "password_hash": "$argon2id$x"}}'),
    ],
)
def test_settings_that_would_let_strangers_in_stop_it(setting: Setting, name: str, value: str) -> None:
    setting(**{name: value})

    with pytest.raises(SettingsError) as stopped:
        settings()

    assert "hunter2" not in str(stopped.value)
