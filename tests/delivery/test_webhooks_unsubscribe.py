"""One click ends the reminders; looking changes nothing."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.delivery import links
from shared import db, suppressions
from shared.settings import settings
from tests.delivery.hooks import ADDRESS, PUBLIC, Hooks, suppressed
from tests.delivery.samples import Page
from tests.kinds import Sql

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def link() -> str:
    return (links.unsubscribe_url(uuid4(), ADDRESS, settings()) or "").removeprefix(PUBLIC)


def test_a_mail_scanner_that_follows_the_link_changes_nothing(hooks: Hooks, sql: Sql) -> None:
    answers = [hooks.get(link()), hooks.get(link() + "?List-Unsubscribe=One-Click"), hooks.post(link())]

    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert suppressed(sql) == []


@pytest.mark.parametrize("as_form", [{"data": ONE_CLICK}, {"files": {"List-Unsubscribe": (None, "One-Click")}}])
def test_one_click_ends_reminders_and_nothing_else(hooks: Hooks, sql: Sql, as_form: dict[str, object]) -> None:
    path = link()

    answers = [hooks.post(path, **as_form).status_code for _ in range(2)]

    assert answers == [200, 200]
    assert suppressed(sql) == [("email", "reminders", "unsubscribe")]
    with db.transaction() as connection:
        kinds = {
            kind: suppressions.suppression(connection, "email", ADDRESS, kind=kind)
            for kind in ("gift", "reminder", "notice")
        }
    assert kinds == {"gift": None, "reminder": "unsubscribe", "notice": None}


def test_the_link_names_nobody(hooks: Hooks) -> None:
    assert "ada" not in link()
    assert ADDRESS not in hooks.get(link()).text


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: "A" + t, lambda t: t.replace(".", ""), lambda _: "x"])
def test_a_link_that_was_touched_is_refused_on_a_page(hooks: Hooks, sql: Sql, change: object) -> None:
    wrong = "/unsubscribe/" + change(link().rpartition("/")[2])  # type: ignore[operator]  # a lambda of the list above

    shown, acted = hooks.get(wrong), hooks.post(wrong, ONE_CLICK)

    assert (shown.status_code, acted.status_code) == (403, 403)
    assert "This link is incomplete" in shown.text
    assert suppressed(sql) == []


def test_a_token_for_status_callbacks_is_no_unsubscribe_link(hooks: Hooks) -> None:
    token = (links.status_url(uuid4(), settings()) or "").rpartition("/")[2]

    assert hooks.post(f"/unsubscribe/{token}", ONE_CLICK).status_code == 403


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("de-AT,de;q=0.9", "de"), ("pt-BR, fr;q=0.5", "fr"), ("ja", "ja"), ("es-419", "es"), ("", "en"), ("xx", "en")],
)
def test_the_page_speaks_the_readers_language(hooks: Hooks, accepted: str, language: str) -> None:
    page = hooks.get(link(), headers={"Accept-Language": accepted})

    assert Page(page.text).all("html") == [{"lang": language, "dir": "ltr"}]
    assert page.headers["Content-Language"] == language


def test_the_page_is_one_form_with_one_button_and_loads_nothing(hooks: Hooks) -> None:
    answer = hooks.get(link())
    page = Page(answer.text)

    assert page.all("form") == [{"method": "post"}]
    assert page.all("input") == [{"type": "hidden", "name": "List-Unsubscribe", "value": "One-Click"}]
    assert len(page.all("button")) == len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert not [tag for tag, _ in page.tags if tag in ("img", "script", "link", "iframe")]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
