"""The screens of jobs in a real browser, by keyboard alone: every act from its page to what came of it."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

from services.console import bulk_turns
from services.delivery.preview.chromium import PROGRAMS
from tests import servers
from tests.console.conftest import Made
from tests.console.web.conftest import PASSWORD
from tests.kinds import Eventually, JobOf, Setting, Sql

MAIL = "send_gift_card_email"
SCREENS = ("/jobs", "/failed", "/bulk", "/workers", "/schedules")
TABS = 200


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        servers.give_up("no Chromium for tests: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(app: FastAPI, setting: Setting) -> Iterator[str]:
    """Serve the console on a free port, with its thread for acts on many jobs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        setting(console_url=url)
        server, stop = uvicorn.Server(uvicorn.Config(app, log_config=None)), threading.Event()
        threads = [
            threading.Thread(target=server.run, args=([listening],)),
            threading.Thread(target=bulk_turns.loop, args=(stop,)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            stop.set()
            for thread in threads:
                thread.join()


@contextmanager
def opened(chromium: Browser, url: str, **look: Any) -> Iterator[Page]:
    """Sign in as an operator, by keyboard; at the end no script may have failed and nothing been refused."""
    context = chromium.new_context(base_url=url, **look)
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto("/login")
    typed(page, "login", "otto")
    typed(page, "password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda at: "/login" not in at)
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def reach(page: Page, selector: str, key: str = "Tab") -> None:
    """Press Tab, or Shift and Tab, until an element that is shown has the focus."""
    for _ in range(TABS):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {selector} on {page.url}")


def typed(page: Page, name: str, text: str) -> None:
    reach(page, f"[name={name}]")
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def act(page: Page, name: str, reason: str = "relay was down", **fields: str) -> None:
    """Open an act's form, fill it in, and send it."""
    form = f"form[action='/acts/{name}']"
    reach(page, f"details:has({form}) > summary")
    page.keyboard.press("Enter")
    for field, text in fields.items():
        typed(page, field, text)
    reach(page, f"{form} [name=reason]")
    page.keyboard.type(reason)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_search_is_typed_and_stands_in_the_address(page: Page, made: Made) -> None:
    wanted = made("failed", message=MAIL, error_type="TimeoutError", error="smtp.py:1 refused")
    other = made("failed", message=MAIL, error_type="TimeoutError", error="smtp.py:1 full")
    page.goto("/jobs")
    expect(page.get_by_text(str(other))).to_be_visible()

    typed(page, "error", "refused")
    page.keyboard.press("Enter")

    expect(page.get_by_text(str(other))).to_have_count(0)
    expect(page.get_by_text(str(wanted))).to_be_visible()
    assert "error=refused" in page.url
    reach(page, f"a[href='/jobs/{wanted}']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="What happened")).to_contain_text("failed")


@pytest.mark.parametrize(
    ("name", "state", "after"),
    [
        ("retry_job", "failed", "scheduled"),
        ("discard_job", "failed", "failed"),
        ("cancel_job", "scheduled", "cancelled"),
    ],
)
def test_one_job_is_acted_on(page: Page, made: Made, job: JobOf, sql: Sql, name: str, state: str, after: str) -> None:
    job_id = made(state, run_at=datetime.now(UTC) + timedelta(days=1))
    page.goto(f"/jobs/{job_id}")

    act(page, name)

    expect(page.get_by_role("status")).to_be_visible()
    assert job(job_id)["state"] == after
    assert [(row["who"], row["reason"]) for row in sql("SELECT who, reason FROM audit")] == [("otto", "relay was down")]


def test_a_job_is_moved_and_promoted(page: Page, made: Made, job: JobOf) -> None:
    job_id = made("scheduled", run_at=datetime.now(UTC) + timedelta(days=1))
    page.goto(f"/jobs/{job_id}")

    reach(page, "details:has(form[action='/acts/move_job']) > summary")
    page.keyboard.press("Enter")
    reach(page, "[name=run_at]")
    for part in ("12252098", "0900AM"):
        page.keyboard.type(part)
        page.keyboard.press("Tab")
    reach(page, "form[action='/acts/move_job'] [name=reason]")
    page.keyboard.type("her wish")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert job(job_id)["run_at"] == datetime(2098, 12, 25, 9, tzinfo=UTC)

    act(page, "promote_job")

    assert job(job_id)["run_at"] < datetime.now(UTC) + timedelta(minutes=1)


def test_selected_jobs_are_shown_confirmed_by_their_number_and_followed_to_the_end(
    page: Page, made: Made, job: JobOf, eventually: Eventually
) -> None:
    one, two = made("failed", attempt=1), made("failed", attempt=1)
    page.goto("/jobs?state=failed")

    reach(page, f"input[value='{one}']")
    page.keyboard.press("Space")
    reach(page, "fieldset button:not([name])", key="Shift+Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 1 jobs")
    act(page, "start_bulk", count="2")
    expect(page.get_by_role("alert")).to_contain_text("it is for 1 jobs, not 2")
    act(page, "start_bulk", count="1")

    expect(page.get_by_role("heading", level=1)).to_contain_text("done", timeout=30_000)
    assert (job(one)["state"], job(two)["state"]) == ("scheduled", "failed")


def test_a_group_of_failures_is_put_away_and_one_in_the_middle_aborted(page: Page, made: Made, sql: Sql) -> None:
    for _ in range(3):
        made("failed", reason="retries_exhausted", error_type="TimeoutError", error="smtp.py:1 send", attempt=1)
    page.goto("/failed")

    reach(page, "form:has([name=act][value=discard]) button")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    bulk = page.url.rpartition("/")[2]
    sql("UPDATE bulk_actions SET per_s = 1")
    act(page, "start_bulk", count="3")
    expect(page.locator("progress")).to_be_visible()
    act(page, "abort_bulk", reason="wrong group")

    expect(page.get_by_role("heading", level=1)).to_contain_text("aborted")
    [left] = sql("SELECT count(*) AS jobs FROM bulk_action_items WHERE bulk_id = %s AND result IS NULL", bulk)
    assert left["jobs"] > 0


def test_a_line_of_the_timetable_is_run_now(page: Page, sql: Sql) -> None:
    page.goto("/schedules")

    act(page, "run_now")

    expect(page.get_by_role("status")).to_contain_text("is asked for: job")
    assert len(sql("SELECT FROM jobs WHERE source = 'console'")) == 1


@pytest.mark.parametrize("look", ["light", "dark"])
def test_on_a_phone_no_page_is_wider_than_the_screen(chromium: Browser, address: str, made: Made, look: Any) -> None:
    failed = made("failed", reason="retries_exhausted", error_type="TimeoutError", error="a very long line " * 20)
    made("running", worker="a-very-long-name-of-a-pod-7d9f8a526c1e:12", started_at="now", lease_until="now")

    with opened(chromium, address, viewport={"width": 360, "height": 740}, color_scheme=look) as page:
        for path in (*SCREENS, f"/jobs/{failed}"):
            page.goto(path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 360, f"{path} is {width} wide"


def test_what_others_do_is_seen_without_a_touch(page: Page, made: Made) -> None:
    page.goto("/workers")
    expect(page.get_by_text("No job runs just now.")).to_be_visible()

    made("running", worker="pod-7:12", started_at="now", lease_until="now")

    expect(page.get_by_text("pod-7:12")).to_be_visible(timeout=30_000)
