"""Jobs in the browser: found, looked at, acted on one by one and many at once."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from services.console import bulk_turns
from tests.console.conftest import Made
from tests.console.web.conftest import Browser
from tests.kinds import Eventually, JobOf, Setting, Sql

NOTHING = "00000000-0000-4000-8000-000000000000"
WHY = {"reason": "relay was down"}
MAIL = "send_gift_card_email"


def sent(client: TestClient, path: str, **fields: Any) -> Any:
    """Send a form as a page does, with its token and the address that it is on."""
    csrf = client.headers.pop("X-CSRF-Token")
    answer = client.post(path, data={"csrf": csrf, **fields})
    client.headers["X-CSRF-Token"] = csrf
    return answer


def test_jobs_are_found_by_what_stands_in_the_address_and_page_by_page(browser: Browser, made: Made) -> None:
    found = [
        made(
            "failed", error_type="TimeoutError", error="smtp.py:1 refused", finished_at=datetime.now(UTC) - timedelta(n)
        )
        for n in range(3)
    ]
    made("failed", error_type="TimeoutError", error="smtp.py:1 full")
    client = browser("vera")
    address = "/jobs?state=failed&name=&queue=gift-card-expiry&error=refused&limit=2"

    first = client.get("/api/v1" + address).json()
    page = client.get(address).text
    second = client.get("/api/v1" + address + f"&cursor={first['next']}").json()

    assert [row["id"] for row in first["jobs"] + second["jobs"]] == [str(job) for job in found]
    assert second["next"] is None
    assert all((str(job) in page) == (job in found[:2]) for job in found)
    [older] = re.findall(r'rel="next" href="([^"]+)"', page)
    assert str(found[2]) in client.get(older.replace("&amp;", "&")).text


def test_without_a_filter_all_up_to_now_is_shown_and_what_lies_ahead_only_when_asked_for(
    browser: Browser, made: Made
) -> None:
    past, ahead = made("succeeded"), made("scheduled", run_at=datetime.now(UTC) + timedelta(days=1))
    client = browser("vera")

    assert [row["id"] for row in client.get("/api/v1/jobs").json()["jobs"]] == [str(past)]
    assert [row["id"] for row in client.get("/api/v1/jobs?state=").json()["jobs"]] == [str(ahead), str(past)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("state=done", "state: no state is called so"),
        ("card=4711", "card: Input should be a valid UUID"),
        ("error=ab", "error: String should have at least 3 characters"),
        ("colour=red", "colour: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_searched_is_said(browser: Browser, query: str, says: str) -> None:
    answer = browser("vera").get(f"/api/v1/jobs?{query}")

    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_a_job_is_told_from_beginning_to_end_without_an_address(browser: Browser, sql: Sql, made: Made) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    job = made(
        "failed",
        message=MAIL,
        reason="retries_exhausted",
        error_type="TimeoutError",
        error="smtp.py:1 send",
        attempt=4,
        enqueued_at=datetime.now(UTC) - timedelta(minutes=2),
        started_at=datetime.now(UTC) - timedelta(minutes=1),
        worker="pod-7:12",
        traceparent=f"00-{trace}-b7ad6b7169203331-01",
        data='{"gift_card_id": "7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08", "recipient_email": "ada@example.com"}',
    )
    client = browser("otto")
    client.post("/acts/retry_job", data={"job": str(job), **WHY})
    sql("UPDATE jobs SET state = 'failed', reason = 'content', finished_at = clock_timestamp() WHERE id = %s", job)

    page, told = client.get(f"/jobs/{job}").text, client.get(f"/api/v1/jobs/{job}").json()["job"]

    assert [row["did"] for row in told["timeline"]] == ["asked for", "running", "retried", "failed"]
    assert "it had ended as failed on attempt 4" in told["timeline"][2]["words"]
    assert told["why"] == "given up, since the provider refuses this very message (smtp.py:1 send)"
    assert (told["trace_id"], told["data"]["recipient_email"]) == (trace, "a…@e….com")
    assert "ada@example.com" not in page + str(told)
    assert '/cards/7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08"' in page


@pytest.mark.parametrize("path", ["/jobs/no-such-key", f"/jobs/{NOTHING}", f"/bulk/{NOTHING}"])
def test_what_is_not_there_is_not_found(browser: Browser, path: str) -> None:
    assert browser("vera").get(path).status_code == 404
    assert browser("vera").get("/api/v1" + path).status_code == 404


@pytest.mark.parametrize(
    ("act", "state", "more", "says", "after"),
    [
        ("retry_job", "failed", {}, "it will run again now", "scheduled"),
        ("discard_job", "failed", {}, "put away", "failed"),
        ("cancel_job", "scheduled", {}, "cancelled", "cancelled"),
        ("promote_job", "scheduled", {}, "promoted", "scheduled"),
        ("move_job", "scheduled", {"run_at": "2198-12-25T09:00"}, "moved", "scheduled"),
    ],
)
def test_an_act_on_one_job_is_done_once_said_and_kept(
    browser: Browser,
    made: Made,
    job: JobOf,
    sql: Sql,
    act: str,
    state: str,
    more: dict[str, str],
    says: str,
    after: str,
) -> None:
    job_id, client = made(state), browser("otto")

    done = sent(client, f"/acts/{act}", job=str(job_id), back=f"/jobs/{job_id}", **WHY, **more)

    assert (done.status_code, done.headers["Location"]) == (303, f"/jobs/{job_id}")
    assert says in client.get(f"/jobs/{job_id}").text
    assert job(job_id)["state"] == after
    assert [(row["who"], row["reason"]) for row in sql("SELECT * FROM audit")] == [("otto", "relay was down")]
    if more:
        assert job(job_id)["run_at"] == datetime(2198, 12, 25, 9, tzinfo=UTC)
    if act in ("retry_job", "cancel_job", "discard_job"):
        again = client.post(f"/api/v1/acts/{act}", json={"job": str(job_id), **WHY})
        assert (again.status_code, "too late" in again.json()["detail"]) == (409, True)


def test_many_are_prepared_confirmed_by_their_number_and_followed(
    browser: Browser, made: Made, job: JobOf, sql: Sql
) -> None:
    failed = [made("failed", message=MAIL, attempt=1) for _ in range(3)]
    unread, other = made("rejected", message=MAIL, reason="invalid"), made("failed", attempt=1)
    client = browser("otto")

    shown = client.post(
        "/acts/prepare_bulk", data={"act": "retry", "every": "yes", "state": "unsuccessful", "name": MAIL}
    )
    address = shown.headers["Location"]
    page = client.get(address).text
    bulk = address.removeprefix("/bulk/")
    wrong = client.post("/api/v1/acts/start_bulk", json={"bulk": bulk, "count": 4, **WHY})
    right = client.post("/acts/start_bulk", data={"bulk": bulk, "count": 3, "back": address, **WHY})
    bulk_turns.turn()
    told = client.get(f"/api/v1{address}").json()["bulk"]

    assert "Retry 3 jobs" in page
    assert "rejected unread (invalid)" in page
    assert (wrong.status_code, right.status_code) == (409, 303)
    assert (told["state"], told["done"], told["started_by"]) == ("done", 3, "otto")
    assert {job(each)["state"] for each in failed} == {"scheduled"}
    assert (job(unread)["state"], job(other)["state"]) == ("rejected", "failed")
    assert "retried" in client.get(address).text
    assert address in client.get("/bulk").text


def test_those_that_were_ticked_are_taken_and_none_is_refused(browser: Browser, made: Made) -> None:
    one, _, three = (made("scheduled") for _ in range(3))
    client = browser("otto")

    ticked = client.post("/acts/prepare_bulk", data={"act": "cancel", "jobs": [str(one), str(three)]})
    none = sent(client, "/acts/prepare_bulk", act="cancel", back="/jobs")

    assert none.headers["Location"] == "/jobs"
    assert "no job is selected" in client.get("/jobs").text
    assert "Cancel 2 jobs" in client.get(ticked.headers["Location"]).text


def test_one_is_aborted_from_its_page(browser: Browser, made: Made) -> None:
    made("failed", attempt=1)
    client = browser("otto")
    prepared = client.post("/api/v1/acts/prepare_bulk", json={"act": "retry", "every": True, "state": "failed"}).json()

    client.post("/acts/abort_bulk", data={"bulk": prepared["id"], **WHY})

    assert client.get(f"/api/v1/bulk/{prepared['id']}").json()["bulk"]["state"] == "aborted"


def test_the_console_itself_does_what_was_confirmed(
    browser: Browser, made: Made, sql: Sql, eventually: Eventually
) -> None:
    made("failed", attempt=1)
    client, stop = browser("otto"), threading.Event()
    prepared = client.post("/api/v1/acts/prepare_bulk", json={"act": "retry", "every": True, "state": "failed"}).json()
    work = threading.Thread(target=bulk_turns.loop, args=(stop,))
    work.start()

    client.post("/api/v1/acts/start_bulk", json={"bulk": prepared["id"], "count": 1, **WHY})

    try:
        eventually(lambda: sql("SELECT FROM bulk_actions WHERE state = 'done'"))
    finally:
        stop.set()
        work.join()


def test_failures_are_grouped_and_a_group_is_retried_or_put_away_as_one(browser: Browser, made: Made) -> None:
    about = {"reason": "retries_exhausted", "error_type": "TimeoutError"}
    for n in range(3):
        made("failed", **about, error=f"smtp.py:1 send\nsecond line {n}", attempt=1)
    made("failed", **about, error="sms.py:7 create", attempt=1)
    client = browser("otto")

    groups = client.get("/api/v1/failed").json()["groups"]
    page = client.get("/failed").text
    form = page[page.index("smtp.py:1 send") :].partition("<form")[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    shown = client.post("/acts/prepare_bulk", data=fields)

    assert [(group["jobs"], group["error"]) for group in groups] == [(3, "smtp.py:1 send"), (1, "sms.py:7 create")]
    assert "Retry 3 jobs" in client.get(shown.headers["Location"]).text


def test_workers_are_shown_with_what_they_do_since_when_and_whether_they_are_silent(
    browser: Browser, made: Made
) -> None:
    now = datetime.now(UTC)
    running = {"worker": "pod-7:12", "started_at": now - timedelta(minutes=2), "attempt": 1}
    made("running", **running, lease_until=now + timedelta(minutes=1))
    made("running", **running | {"worker": "pod-8:9"}, lease_until=now - timedelta(minutes=1))
    client = browser("vera")

    workers = client.get("/api/v1/workers").json()["workers"]

    assert [(each["worker"], each["jobs"][0]["stalled"]) for each in workers] == [
        ("pod-7:12", False),
        ("pod-8:9", True),
    ]
    assert "2 min" in client.get("/workers").text


def test_workers_without_a_job_are_shown_too_and_counted_per_queue(browser: Browser, made: Made, sql: Sql) -> None:
    sql(
        "INSERT INTO workers (name, queues, threads, seen_at) VALUES ('pod-1:7', '{sms-delivery}', 8, now()),"
        " ('pod-2:7', '{sms-delivery}', 8, now()), ('pod-3:7', '{email-delivery}', 4, now() - interval '5 minutes')"
    )
    made("running", worker="pod-2:7", started_at="now", lease_until="now")
    client = browser("vera")

    found = client.get("/api/v1/workers").json()
    shown = [(each["worker"], len(each["jobs"]), each["silent"]) for each in found["workers"]]
    counts = {row["queue"]: row["workers"] for row in client.get("/api/v1").json()["queues"]}

    assert shown == [("pod-3:7", 0, True), ("pod-1:7", 0, False), ("pod-2:7", 1, False)]
    assert (found["running"], counts["sms-delivery"], counts["email-delivery"]) == (1, 2, 0)
    assert "waits for jobs" in client.get("/workers").text


def test_a_line_of_the_timetable_runs_now_and_shows_what_it_missed(
    browser: Browser, sql: Sql, setting: Setting
) -> None:
    setting(timetable='{"prune_history": {"cron": "0 * * * *", "zone": "UTC"}}')
    sql("INSERT INTO schedules VALUES ('prune_history', date_trunc('hour', clock_timestamp()) - interval '3 hours')")
    client = browser("otto")

    [line] = [line for line in client.get("/api/v1/schedules").json()["lines"] if line["name"] == "prune_history"]
    done = client.post("/api/v1/acts/run_now", json={"name": "prune_history", **WHY})
    unknown = client.post("/api/v1/acts/run_now", json={"name": "no_such", **WHY})

    assert line["overdue"] == 3
    assert done.json()["said"].startswith("prune_history is asked for: job ")
    assert unknown.status_code == 409
    assert [row["name"] for row in client.get("/api/v1/schedules").json()["soon"]] == ["prune_history"]
    assert "prune_history" in client.get("/schedules").text


def test_the_soonest_jobs_come_first_whatever_their_queue(browser: Browser, made: Made) -> None:
    later, soon, soonest = (
        made("scheduled", message=message, run_at=datetime.now(UTC) + timedelta(days=days))
        for message, days in ((MAIL, 3), ("prune_history", 2), ("send_gift_card_sms", 1))
    )

    rows = browser("vera").get("/api/v1/schedules?limit=2").json()["soon"]

    assert [UUID(row["id"]) for row in rows] == [soonest, soon]
    assert str(later) not in str(rows)


def test_whoever_only_views_sees_no_forms_here_either(browser: Browser, made: Made) -> None:
    failed, _ = made("failed"), made("scheduled")
    client = browser("vera")

    assert all("/acts/" not in client.get(path).text for path in ("/jobs", f"/jobs/{failed}", "/failed", "/schedules"))
