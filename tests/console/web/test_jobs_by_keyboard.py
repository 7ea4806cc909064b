"""The screens of jobs in a real browser, by keyboard alone: every act from its page to what came of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from services.console import bulk_turns
from tests.console.conftest import Made
from tests.console.web.browsers import Visit, chromium, served, visiting
from tests.kinds import Eventually, JobOf, Sql

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

MAIL = "send_gift_card_email"
TABS = 200


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """Serve the console, with its thread for acts on many jobs."""
    stop = threading.Event()
    work = threading.Thread(target=bulk_turns.loop, args=(stop,))
    with served(app) as address:
        work.start()
        yield address
        stop.set()
        work.join()


@contextmanager
def opened(window: Browser, url: str, *, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """Sign in as an operator; at the end nothing may have gone wrong unseen."""
    with visiting(window, url, width=width, scheme=scheme) as visit:
        visit.page.context.set_default_timeout(60_000)
        visit.sign_in("otto")
        yield visit
        assert visit.wrong == []


@pytest.fixture
def visit(window: Browser, url: str) -> Iterator[Visit]:
    with opened(window, url) as visit:
        yield visit


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


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


def test_a_search_is_typed_and_stands_in_the_address(visit: Visit, page: Page, made: Made) -> None:
    wanted = made("failed", message=MAIL, error_type="TimeoutError", error="smtp.py:1 refused")
    other = made("failed", message=MAIL, error_type="TimeoutError", error="smtp.py:1 full")
    visit.go("/jobs")
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
def test_one_job_is_acted_on(
    visit: Visit, page: Page, made: Made, job: JobOf, sql: Sql, name: str, state: str, after: str
) -> None:
    job_id = made(state, run_at=datetime.now(UTC) + timedelta(days=1))
    visit.go(f"/jobs/{job_id}")

    act(page, name)

    expect(page.get_by_role("status")).to_be_visible()
    assert job(job_id)["state"] == after
    assert [(row["who"], row["reason"]) for row in sql("SELECT who, reason FROM audit")] == [("otto", "relay was down")]


def test_a_job_is_moved_and_promoted(visit: Visit, page: Page, made: Made, job: JobOf) -> None:
    job_id = made("scheduled", run_at=datetime.now(UTC) + timedelta(days=1))
    visit.go(f"/jobs/{job_id}")

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
    visit: Visit, page: Page, made: Made, job: JobOf, eventually: Eventually
) -> None:
    one, two = made("failed", attempt=1), made("failed", attempt=1)
    visit.go("/jobs?state=failed")

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


def test_a_group_of_failures_is_put_away_and_one_in_the_middle_aborted(
    visit: Visit, page: Page, made: Made, sql: Sql
) -> None:
    for _ in range(3):
        made("failed", reason="retries_exhausted", error_type="TimeoutError", error="smtp.py:1 send", attempt=1)
    visit.go("/failed")

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


def test_a_line_of_the_timetable_is_run_now(visit: Visit, page: Page, sql: Sql) -> None:
    visit.go("/schedules")

    act(page, "run_now")

    expect(page.get_by_role("status")).to_contain_text("is asked for: job")
    assert len(sql("SELECT FROM jobs WHERE source = 'console'")) == 1


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "dark")])
def test_full_pages_are_accessible_and_no_wider_than_the_screen(
    window: Browser, url: str, made: Made, width: int, scheme: str
) -> None:
    failed = made("failed", reason="retries_exhausted", error_type="TimeoutError", error="a very long line " * 20)
    running = made("running", worker="a-very-long-name-of-a-pod-7d9f8a526c1e:12", started_at="now", lease_until="now")
    made("scheduled", run_at=datetime.now(UTC) + timedelta(days=1))

    with opened(window, url, width=width, scheme=scheme) as visit:
        visit.go("/failed")
        visit.page.get_by_role("button", name="Retry all of these").click()
        bulk = visit.page.url.removeprefix(url)
        for path in ("/jobs?state=", f"/jobs/{failed}", f"/jobs/{running}", "/workers", "/schedules", "/bulk", bulk):
            visit.go(path)
            assert (path, visit.inaccessible(), visit.overflows()) == (path, [], False)


def test_what_others_do_is_seen_without_a_touch(visit: Visit, page: Page, made: Made) -> None:
    visit.go("/workers")
    expect(page.get_by_text("No worker is there, and no job runs.")).to_be_visible()

    made("running", worker="pod-7:12", started_at="now", lease_until="now")

    expect(page.get_by_text("pod-7:12")).to_be_visible(timeout=30_000)
