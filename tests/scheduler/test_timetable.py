"""The timetable: one job per tick whatever the number of schedulers, the clocks of machines, and daylight saving."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local import state
from services.scheduler import timetable
from services.scheduler.timetable import Line, Timetable
from shared.options import CronLine
from tests.kinds import Setting, Sql

OFF = "0 0 29 2 mon"  # once in 28 years


@pytest.fixture
def only(setting: Setting, database: str) -> Callable[..., Timetable]:
    """Give a timetable of one line, ``prune_history``; the others rest."""

    def make(cron: str, zone: str = "UTC", missed: str = "latest") -> Timetable:
        for name in ("cleanup_expired_tokens", "expire_due_gift_cards", "plan_expiry_reminders"):
            setting(**{f"timetable__{name}__cron": OFF})
        setting(timetable__prune_history__cron=cron)
        setting(timetable__prune_history__zone=zone, timetable__prune_history__missed=missed)
        return Timetable()

    return make


def slept(sql: Sql, interval: str) -> None:
    sql(
        "INSERT INTO schedules VALUES ('prune_history', clock_timestamp() - %s::interval)"
        " ON CONFLICT (name) DO UPDATE SET last_tick = excluded.last_tick",
        interval,
    )


def jobs(sql: Sql) -> list[str]:
    return [row["dedupe_key"] for row in sql("SELECT dedupe_key FROM jobs ORDER BY dedupe_key")]


def test_a_new_line_begins_now(only: Callable[..., Timetable], sql: Sql) -> None:
    wait_s = only("* * * * *").fire()

    assert jobs(sql) == []
    assert 0 < wait_s <= 60


def test_three_schedulers_make_one_job_per_tick(only: Callable[..., Timetable], sql: Sql) -> None:
    schedulers = [only("* * * * *", missed="all") for _ in range(3)]
    slept(sql, "10 minutes")
    together = threading.Barrier(3)

    def fire(scheduler: Timetable) -> None:
        together.wait(20)
        scheduler.fire()
        scheduler.fire()

    with ThreadPoolExecutor() as threads:
        list(threads.map(fire, schedulers))

    keys = jobs(sql)
    assert len(keys) == len(set(keys))
    assert len(keys) in (10, 11)


@pytest.mark.parametrize(("missed", "made"), [("latest", 1), ("all", 60), ("skip", 0)])
def test_ticks_slept_over_are_caught_up_by_policy(
    only: Callable[..., Timetable], sql: Sql, missed: str, made: int
) -> None:
    hourly = only("0 * * * *", missed=missed)
    last = sql("SELECT date_trunc('hour', clock_timestamp()) AS hour")[0]["hour"]
    slept(sql, "60 hours")

    hourly.fire()
    hourly.fire()

    fresh = sql("SELECT clock_timestamp() - %s < interval '1 minute' AS fresh", last)[0]["fresh"]
    assert len(jobs(sql)) == (made if missed != "skip" else int(fresh))
    assert sql("SELECT last_tick FROM schedules WHERE name = 'prune_history'") == [{"last_tick": last}]
    if missed == "latest":
        assert jobs(sql) == [f"cron:prune_history:{last.astimezone(UTC).isoformat()}"]


@pytest.mark.parametrize(("missed", "made"), [("latest", 1), ("all", 3000)])
def test_a_long_sleep_is_caught_up_at_once(
    only: Callable[..., Timetable], sql: Sql, missed: str, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutely = only("* * * * *", missed=missed)
    slept(sql, "3000 minutes")

    minutely.fire()

    assert made <= len(jobs(sql)) <= made + 1


def test_a_tick_and_its_job_are_one_transaction(
    only: Callable[..., Timetable], sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutely = only("* * * * *")
    slept(sql, "5 minutes")
    before = sql("SELECT last_tick FROM schedules")
    monkeypatch.setattr(timetable, "TICKED", "SELECT 1 / 0, %s, %s")

    with pytest.raises(Exception, match="division by zero"):
        minutely.fire()

    assert jobs(sql) == []
    assert sql("SELECT last_tick FROM schedules WHERE name = 'prune_history'")[0] in before


def ticks(cron: str, zone: str, after: str, until: str) -> list[tuple[str, datetime]]:
    line = Line("prune_history", CronLine(cron=cron, zone=zone))
    return list(line.ticks(datetime.fromisoformat(after), datetime.fromisoformat(until)))


def test_a_daily_line_fires_once_on_the_day_that_has_its_hour_twice() -> None:
    found = ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-26T12:00Z")

    assert found == [
        ("2026-10-25T02:30:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-10-26T02:30:00", datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),
    ]


def test_a_daily_line_whose_hour_comes_again_after_a_restart_makes_no_second_job() -> None:
    first = ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00Z", "2026-10-25T01:00Z")
    again = ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00Z", "2026-10-25T12:00Z")

    assert {key for key, _ in first} == {"2026-10-25T02:30:00"}
    assert {key for key, _ in again} <= {key for key, _ in first}


def test_an_hourly_line_fires_in_both_of_the_doubled_hours() -> None:
    found = ticks("0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", "2026-10-25T03:30Z")

    assert [at.hour for _, at in found] == [0, 1, 2, 3]
    assert len({key for key, _ in found}) == 4


@pytest.mark.parametrize("cron", ["*/20 * * * *", "* * * * *"])
def test_a_line_that_fires_through_the_day_fires_through_every_change(cron: str) -> None:
    step = timedelta(minutes=20 if "/" in cron else 1)
    for day in ("2026-03-29", "2026-10-25"):
        found = [at for _, at in ticks(cron, "Europe/Berlin", f"{day}T00:00Z", f"{day}T04:00Z")]

        start, count = datetime.fromisoformat(f"{day}T00:00Z"), int(timedelta(hours=4) / step)
        assert found == [start + step * (n + 1) for n in range(count)]


def test_a_daily_line_in_the_gap_fires_once_an_hour_later() -> None:
    found = ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T12:00Z")

    assert [at for _, at in found] == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC)]


@pytest.mark.parametrize("weekday", ["1", "1-5", "0", "mon,3", "*/2"])
def test_a_weekday_by_number_is_refused(weekday: str) -> None:
    with pytest.raises(SystemExit, match=r"prune_history: weekday .* use day names such as mon or mon-fri"):
        Line("prune_history", CronLine(cron=f"0 2 * * {weekday}"))


def test_a_weekday_by_name_is_that_day() -> None:
    ((_, at),) = ticks("0 2 * * mon", "UTC", "2026-11-25T00:00Z", "2026-12-01T00:00Z")

    assert at == datetime(2026, 11, 30, 2, tzinfo=UTC)
    assert at.strftime("%A") == "Monday"


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("prune_histroy", CronLine(cron="0 * * * *"), "no message is called 'prune_histroy': use one of"),
        ("prune_history", CronLine(cron="0 * * *"), "prune_history: "),
        ("prune_history", CronLine(cron="61 * * * *"), "prune_history: "),
        ("prune_history", CronLine(cron="0 * * * *", zone="EST"), "unknown time zone 'EST'"),
        ("expire_gift_card", CronLine(cron="0 * * * *"), "expire_gift_card: "),
    ],
)
def test_a_wrong_line_stops_the_scheduler_with_what_to_mend(name: str, line: CronLine, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        Line(name, line)


def test_a_wall_clock_an_hour_off_changes_nothing() -> None:
    """What decides about time asks PostgreSQL; no module of it can even ask the machine."""
    deciding: list[Path] = [*(state.ROOT / "services/scheduler").glob("*.py")]
    deciding += [state.ROOT / f"shared/{name}.py" for name in ("jobs", "attempt", "leases", "controls", "counts")]

    asked = {
        ast.unparse(node)
        for path in deciding
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today", "time")
    }

    assert asked == {"metrics.relay_batch_seconds.time"}
