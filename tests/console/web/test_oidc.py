"""Signing in through a provider: only by its word for this very try, and only with a role that the settings give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.console.app import application
from shared.secret_files import SettingsError
from shared.settings import settings
from tests.console.web.browsers import chromium, served, visiting
from tests.console.web.conftest import Browser, sign_in, users
from tests.console.web.provider import ANOTHER_KEY, Provider, provided
from tests.kinds import Setting, Sql


@pytest.fixture
def provider(app: FastAPI, setting: Setting) -> Iterator[Provider]:
    with provided() as one:
        setting(console_oidc=json.dumps(one.settings()))
        yield one


def leave(client: TestClient, next: str = "/") -> str:
    """Go to the provider, and give the address with which it sends the browser back."""
    there = client.get("/login/oidc", params={"next": next})
    assert there.status_code == 302, there.text
    back: str = httpx2.get(there.headers["Location"]).headers["Location"]
    return back.removeprefix("http://127.0.0.1:8090")


def test_whoever_the_provider_vouches_for_comes_in_with_the_role_of_their_group(
    browser: Browser, provider: Provider
) -> None:
    client = browser()

    answer = client.get(leave(client, "/jobs?state=failed"))

    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs?state=failed")
    me = client.get("/api/v1/me").json()
    assert (me["login"], me["role"]) == ("olga", "operator")
    [asked] = provider.asked
    assert (asked["response_type"], asked["scope"], asked["code_challenge_method"]) == (
        "code",
        "openid profile",
        "S256",
    )


def test_what_they_do_is_in_the_audit_by_their_login(browser: Browser, provider: Provider, sql: Sql) -> None:
    client = browser()
    client.get(leave(client))
    token = {"X-CSRF-Token": client.get("/api/v1/me").json()["csrf"]}

    client.post("/acts/pause_queue", data={"queue": "sms-delivery", "reason": "carrier filters us"}, headers=token)

    assert sql("SELECT who, action FROM audit") == [{"who": "olga", "action": "queue.paused"}]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["shop-viewers", "shop-admins", "others"], "admin"),
        ("shop-viewers", "viewer"),
    ],
    ids=["the highest counts", "one as text"],
)
def test_groups_are_mapped_to_a_role(browser: Browser, provider: Provider, groups: Any, role: str) -> None:
    provider.groups, client = groups, browser()

    client.get(leave(client))

    assert client.get("/api/v1/me").json()["role"] == role


@pytest.mark.parametrize("groups", [["others"], [], None, 7, [["shop-admins"]], {"shop-admins": True}])
def test_whoever_has_no_role_is_told_so_and_stays_out(browser: Browser, provider: Provider, groups: Any) -> None:
    provider.groups, client = groups, browser()

    answer = client.get(leave(client))

    assert answer.status_code == 403
    assert "you have no role here" in answer.text
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    ("login", "why"),
    [("ada", "also that of a user with a password"), ("olga@example.com", "is no login"), (None, "is no login")],
)
def test_a_login_that_is_somebody_elses_or_cannot_be_kept_stays_out(
    browser: Browser, provider: Provider, login: Any, why: str
) -> None:
    provider.login, client = login, browser()

    answer = client.get(leave(client))

    assert (answer.status_code, why in answer.text) == (403, True)
    assert "olga@example.com" not in answer.text


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "of another try"},
        {"nonce": None},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": None},
        {"exp": 978_307_200},
        {"exp": None},
        {"iat": 4_102_444_800},
        {"sub": None},
        {"azp": "another-client"},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_try_lets_nobody_in(
    browser: Browser, provider: Provider, lies: dict[str, Any]
) -> None:
    provider.lies, client = lies, browser()

    answer = client.get(leave(client))

    assert answer.status_code == 401, answer.text
    assert "does not count" in answer.text
    assert client.get("/").status_code == 303


def test_a_token_signed_by_others_lets_nobody_in(browser: Browser, provider: Provider) -> None:
    provider.key, client = ANOTHER_KEY, browser()

    assert client.get(leave(client)).status_code == 401


def test_a_way_back_is_good_for_once_and_for_the_browser_that_left(browser: Browser, provider: Provider) -> None:
    client, another = browser(), browser()
    back = leave(client)

    of_another = another.get(back)
    first = client.get(back)
    client.cookies.delete("console-session")
    again = client.get(back)
    with_a_wrong_state = browser().get("/login/oidc/callback?state=guessed&code=x")

    assert [of_another.status_code, first.status_code, again.status_code] == [401, 303, 401]
    assert with_a_wrong_state.status_code == 401
    assert client.get("/").status_code == 303


def test_a_code_alone_is_worth_nothing_without_the_verifier_of_its_try(browser: Browser, provider: Provider) -> None:
    client, thief = browser(), browser()
    stolen = leave(client).partition("code=")[2]
    own = leave(thief).partition("&code=")[0]

    assert thief.get(f"{own}&code={stolen}").status_code == 401


def test_who_is_turned_away_at_the_provider_may_try_again(browser: Browser, provider: Provider) -> None:
    provider.denies, client = True, browser()

    answer = client.get(leave(client))

    assert (answer.status_code, "/login/oidc" in answer.text) == (401, True)


def test_a_provider_that_is_away_is_said_and_passwords_go_on(
    browser: Browser, provider: Provider, setting: Setting
) -> None:
    setting(console_oidc=json.dumps(provider.settings() | {"issuer": "http://127.0.0.1:1"}))
    client = browser()

    answer = client.get("/login/oidc")

    assert (answer.status_code, "does not answer" in answer.text) == (503, True)
    assert sign_in(client, "vera").status_code == 303


def test_without_a_provider_there_is_no_such_way(browser: Browser) -> None:
    client = browser()

    assert [client.get(path).status_code for path in ("/login/oidc", "/login/oidc/callback")] == [404, 404]
    assert "/login/oidc" not in client.get("/login").text


@pytest.mark.parametrize(
    "change",
    [{"roles": {"shop-operators": "viewer"}}, {"client_id": "another"}, None],
    ids=["roles are others", "the client is another", "there is no provider"],
)
def test_a_session_ends_when_the_settings_of_its_provider_change(
    browser: Browser, provider: Provider, setting: Setting, change: dict[str, Any] | None
) -> None:
    client = browser()
    client.get(leave(client))
    assert client.get("/").status_code == 200

    setting(console_oidc=json.dumps(provider.settings() | change) if change else "")

    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "change",
    [{"issuer": "http://login.example.com"}, {"scope": "profile"}, {"roles": {}}, {"roles": {"a": "root"}}],
    ids=str,
)
def test_settings_of_a_provider_that_would_let_strangers_in_stop_it(
    provider: Provider, setting: Setting, change: dict[str, Any]
) -> None:
    setting(console_oidc=json.dumps(provider.settings() | change))

    with pytest.raises(SettingsError) as stopped:
        settings()

    assert provider.settings()["client_secret"] not in str(stopped.value)


def test_people_sign_in_through_it_in_a_browser(app: FastAPI, setting: Setting) -> None:
    with provided() as provider, served(application()) as url, chromium() as browser, visiting(browser, url) as visit:
        setting(console_url=url, console_oidc=json.dumps(provider.settings()), console_users=users())
        visit.go("/forecast")
        visit.page.get_by_role("link", name="Sign in with your organisation").click()
        visit.page.wait_for_url(url + "/forecast")

        assert visit.page.get_by_text("olga").is_visible()
        assert (visit.wrong, visit.inaccessible()) == ([], [])

        provider.groups = []
        visit.page.get_by_role("button", name="Sign out").click()
        visit.page.get_by_role("link", name="Sign in with your organisation").click()
        visit.page.get_by_role("alert").wait_for()

        assert "you have no role here" in visit.page.get_by_role("alert").inner_text()
        assert visit.inaccessible() == []
