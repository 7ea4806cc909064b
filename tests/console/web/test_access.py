"""Who may go where: nobody unsigned, and everybody no further than the role they have."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from services.console.app import application, routes
from services.console.web import access
from services.console.web.users import Role
from tests.console.web.conftest import Browser
from tests.kinds import Sql

PEOPLE = {None: 0, "vera": 1, "otto": 2, "ada": 3}


def every_route() -> list[tuple[str, str]]:
    return sorted({(method, route.path_format) for route in routes(application()) for method in route.methods or ()})


def address(path: str) -> str:
    """Fill a path in with ids that nothing has."""
    nothing = "00000000-0000-4000-8000-000000000000"
    return "/".join(nothing if part.startswith("{") else part for part in path.split("/"))


def test_every_role_that_is_declared_is_that_of_a_route(app: FastAPI) -> None:
    there = {f"{method} {path}" for method, path in every_route()}

    assert access.ROLES.keys() <= there


def test_nobody_is_served_unsigned_but_at_the_door(app: FastAPI) -> None:
    open_to_all = {f"{method} {path}" for method, path in every_route() if access.needed(method, path) is None}

    by_provider = {"GET /login/oidc", "GET /login/oidc/callback"}
    assert open_to_all == {"GET /livez", "GET /login", "POST /login", *by_provider}


def test_a_route_without_a_role_does_not_start(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(access.ROLES, "POST /acts/pause_queue")

    with pytest.raises(LookupError, match="no role is declared for POST /acts/pause_queue"):
        application()


@pytest.mark.parametrize("login", PEOPLE)
def test_everybody_goes_as_far_as_their_role_and_no_further(browser: Browser, login: str | None) -> None:
    client, mine = browser(login), PEOPLE[login]
    wrong = []

    for method, path in every_route():
        least = access.needed(method, path)
        if least is None or path == "/logout":
            continue
        answer = client.request(method, address(path), json={} if path.startswith(access.API) else None)
        turned_away = answer.status_code in (401, 403) or "/login" in answer.headers.get("Location", "")
        if turned_away != (mine < least) or answer.status_code >= 500:
            wrong.append(f"{method} {path}: {answer.status_code} for {login}")

    assert wrong == []


@pytest.mark.parametrize("login", PEOPLE)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_served_to_nobody(browser: Browser, login: str | None, method: str) -> None:
    client = browser(login)

    assert {client.request(method, path).status_code for path in ("/", "/api/v1/me", "/acts/pause_queue")} == {405}


def test_an_act_by_cookie_needs_the_token_of_its_session(browser: Browser, sql: Sql) -> None:
    client = browser("otto")
    act = {"queue": "email-delivery", "reason": "provider incident"}
    del client.headers["X-CSRF-Token"]

    without = client.post("/acts/pause_queue", data=act)
    with_a_wrong_one = client.post("/acts/pause_queue", data=act | {"csrf": "guessed"})
    as_json = client.post("/api/v1/acts/pause_queue", json=act)

    assert [without.status_code, with_a_wrong_one.status_code, as_json.status_code] == [403, 403, 403]
    assert sql("SELECT FROM queue_controls WHERE paused_at IS NOT NULL") == []


def test_a_program_acts_by_login_and_password_and_needs_no_token(browser: Browser, sql: Sql) -> None:
    act = {"queue": "email-delivery", "reason": "provider incident"}

    answer = browser().post("/api/v1/acts/pause_queue", json=act, auth=("otto", "correct horse battery staple"))

    assert answer.json() == {"said": "email-delivery is paused: what runs goes on, nothing more starts"}
    assert sql("SELECT who, action, subject, reason FROM audit") == [
        {"who": "otto", "action": "queue.paused", "subject": "email-delivery", "reason": "provider incident"}
    ]


def test_login_and_password_open_no_page(browser: Browser) -> None:
    answer = browser().get("/", auth=("ada", "correct horse battery staple"))

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=%2F")


def test_a_browser_is_never_asked_for_a_password_that_it_would_send_by_itself(browser: Browser) -> None:
    of_a_program = browser().get("/api/v1/me")
    of_a_browser = browser().get("/api/v1/me", headers={"Sec-Fetch-Mode": "navigate"})

    assert "WWW-Authenticate" in of_a_program.headers
    assert "WWW-Authenticate" not in of_a_browser.headers


def test_roles_are_in_order() -> None:
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN


def test_every_answer_is_shielded(browser: Browser) -> None:
    client = browser("vera")

    for path in ("/", "/nothing", "/api/v1/me", "/livez", "/static/console.css"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
