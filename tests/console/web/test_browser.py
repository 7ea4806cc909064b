"""What only a browser shows: no errors, nothing inaccessible or too wide, all by keyboard, live only if seen."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from services.console.web import pages
from tests.console.conftest import Made, Sent
from tests.console.web.browsers import Visit, chromium, served, visiting
from tests.kinds import Issue, Sql

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as address:
        yield address


@pytest.fixture
def life(card: Issue, made: Made, sent: Sent, sql: Sql) -> str:
    """Have something on every screen, and give a card's id."""
    card_id = card()
    made("failed", reason="retries_exhausted", error="ValueError", started_at="now", attempt=4)
    made("succeeded", started_at="now")
    sent(card_id, reason="held")
    sent(card_id, "sent")
    sql("INSERT INTO queue_controls (queue, paused_at, paused_by) VALUES ('sms-delivery', now(), 'otto')")
    sql("""INSERT INTO brakes (name, details) VALUES ('expiry', '{"cards": 5000, "limit": "over 10 % of all"}')""")
    sql(
        "INSERT INTO breakers (provider, code, said, failures, probe_at)"
        " VALUES ('smtp:relay:587', '535', 'no such login', 3, '2199-01-01Z')"
    )
    sql(
        "INSERT INTO suppressions (channel, address_hash, scope, reason, source)"
        " VALUES ('email', 'sha256:' || repeat('ab', 32), 'all', 'manual', 'otto')"
    )
    sql("INSERT INTO audit (who, action, subject, reason) VALUES ('otto', 'queue.paused', 'sms-delivery', 'x')")
    return str(card_id)


def everywhere(card_id: str) -> list[str]:
    return [*pages.NAV, f"/cards/{card_id}", "/cards?find=WXYZ", "/nothing-here"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_every_screen_is_sound_accessible_and_fits(
    window: Browser, url: str, life: str, width: int, scheme: str
) -> None:
    with visiting(window, url, width=width, scheme=scheme) as visit:
        visit.go("/login")
        wrong = {"/login": visit.inaccessible()}
        visit.sign_in("ada")

        for path in everywhere(life):
            visit.go(path)
            visit.page.wait_for_load_state("networkidle")
            if (summary := visit.page.locator("details.act > summary")).count():
                summary.first.click()
            wrong[path] = visit.inaccessible() + (["too wide"] if visit.overflows() else [])

        assert {path: found for path, found in wrong.items() if found} == {}
        assert [line for line in visit.wrong if "404" not in line] == []


def test_a_queue_is_paused_by_keyboard_alone(window: Browser, url: str, sql: Sql) -> None:
    with visiting(window, url) as visit:
        keys = visit.page.keyboard
        visit.go("/login")
        for text in ("otto", "correct horse battery staple"):
            keys.type(text)
            keys.press("Tab")
        keys.press("Enter")
        visit.page.wait_for_url(url + "/")

        tab_to(visit, "Pause gift-card-expiry")
        keys.press("Enter")
        keys.press("Tab")
        keys.type("provider incident")
        keys.press("Enter")

        expect(visit.page.get_by_role("status")).to_contain_text("gift-card-expiry is paused")
        assert visit.wrong == []
    assert sql("SELECT paused_by, pause_reason FROM queue_controls") == [
        {"paused_by": "otto", "pause_reason": "provider incident"}
    ]


def tab_to(visit: Visit, name: str) -> None:
    for _ in range(60):
        visit.page.keyboard.press("Tab")
        if visit.page.evaluate("document.activeElement.innerText").replace("\n", " ").split() == name.split():
            return
    raise AssertionError(f"no way to {name!r} by the tabulator key")


def test_escape_closes_a_form_and_gives_the_focus_back(window: Browser, url: str) -> None:
    with visiting(window, url) as visit:
        visit.sign_in("otto")
        summary = visit.page.locator("details.act > summary").first
        summary.click()
        visit.page.locator("details[open] input[name=reason]").focus()

        visit.page.keyboard.press("Escape")

        expect(summary).to_be_focused()
        assert visit.page.locator("details[open]").count() == 0


def test_counts_refresh_while_somebody_looks_and_only_then(window: Browser, url: str, made: Made) -> None:
    with visiting(window, url) as visit:
        visit.sign_in("vera")
        expect(visit.page.locator("td.bad")).to_have_count(0)
        made("failed")
        expect(visit.page.locator("td.bad").first).to_have_text(re.compile(r"\b1\s*$"), timeout=30_000)
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"

        visit.page.evaluate(hide % "true")
        visit.page.wait_for_load_state("networkidle")
        asked: list[str] = []
        visit.page.on("request", lambda request: asked.append(request.url))
        made("failed")
        visit.page.wait_for_timeout(8000)  # more than its five seconds
        while_hidden = list(asked)
        visit.page.evaluate(hide % "false")

        expect(visit.page.locator("td.bad").first).to_have_text(re.compile(r"\b2\s*$"), timeout=30_000)
        assert while_hidden == []
        assert visit.wrong == []


def test_a_form_that_is_being_filled_in_is_not_taken_away(window: Browser, url: str) -> None:
    with visiting(window, url) as visit:
        visit.sign_in("otto")
        visit.page.locator("#queues details.act > summary").first.click()
        visit.page.locator("details[open] input[name=reason]").fill("half a rea")

        visit.page.wait_for_timeout(7000)  # more than its five seconds

        assert visit.page.locator("details[open] input[name=reason]").input_value() == "half a rea"


def test_an_unknown_delivery_is_resolved_with_a_pointer(window: Browser, url: str, life: str, sql: Sql) -> None:
    with visiting(window, url, width=360) as visit:
        visit.sign_in("otto")
        visit.go("/deliveries")
        visit.page.locator("summary", has_text="It arrived").first.click()
        visit.page.locator("details[open] input[name=reason]").fill("seen in the log")

        visit.page.locator("details[open] button").click()

        expect(visit.page.get_by_role("status")).to_have_text("it counts as sent")
        assert visit.page.url == url + "/deliveries"
        assert visit.wrong == []
    assert sql("SELECT DISTINCT state FROM deliveries") == [{"state": "sent"}]


def test_whoever_was_signed_out_is_asked_to_sign_in_again(window: Browser, url: str) -> None:
    with visiting(window, url) as visit:
        visit.sign_in("vera")
        visit.page.context.clear_cookies()

        visit.page.wait_for_url(f"{url}/login?next=%2F", timeout=30_000)
