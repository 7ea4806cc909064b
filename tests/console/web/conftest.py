"""What the tests of pages share: the console in this process with its own role, and browsers of four people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.console.app import application
from services.console.web.users import hashed
from tests.kinds import Setting

PASSWORD = "correct horse battery staple"
USERS = {"vera": "viewer", "otto": "operator", "ada": "admin"}
Browser: TypeAlias = Callable[..., TestClient]


@cache
def users() -> str:
    one = hashed(PASSWORD)
    return json.dumps({login: {"role": role, "password_hash": one} for login, role in USERS.items()})


@pytest.fixture
def service() -> str:
    """Have the console's role in the database."""
    return "console"


@pytest.fixture
def app(database: str, setting: Setting) -> FastAPI:
    setting(console_users=users(), console_keys='["of these tests"]', console_url="http://127.0.0.1:8090")
    return application()


@pytest.fixture
def browser(app: FastAPI) -> Iterator[Browser]:
    """Open a browser, signed in if somebody is named: ``browser("otto").get("/")``. It follows no redirects."""
    opened: list[TestClient] = []

    def open_one(login: str | None = None) -> TestClient:
        client = TestClient(
            app, "http://127.0.0.1:8090", raise_server_exceptions=False, follow_redirects=False, client=("192.0.2.1", 1)
        )
        opened.append(client)
        if login:
            assert sign_in(client, login).status_code == 303
            client.headers["X-CSRF-Token"] = client.get("/api/v1/me").json()["csrf"]
        return client

    yield open_one
    for client in opened:
        client.close()


def sign_in(client: TestClient, login: str, password: str = PASSWORD) -> Any:
    form = client.get("/login").text
    csrf = form.partition('name="csrf" value="')[2].partition('"')[0]
    return client.post("/login", data={"csrf": csrf, "login": login, "password": password})
