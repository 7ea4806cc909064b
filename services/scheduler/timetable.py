"""Turn cron lines into jobs: one per tick whatever the number of schedulers, and none slept over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, LiteralString

from apscheduler.triggers.cron import CronTrigger

from shared import db, logs, metrics
from shared.enqueue import enqueue
from shared.failpoints import failpoint
from shared.messages import MESSAGES
from shared.options import CronLine
from shared.settings import settings
from shared.wall_time import zone

MAX_TICKS = 1000  # of one line in one transaction, after a long sleep

NOW: LiteralString = "SELECT clock_timestamp() AS now"
KNOW: LiteralString = "INSERT INTO schedules VALUES (%s, clock_timestamp()) ON CONFLICT DO NOTHING"
LAST: LiteralString = "SELECT last_tick, clock_timestamp() AS now FROM schedules WHERE name = %s FOR UPDATE"
TICKED: LiteralString = "UPDATE schedules SET last_tick = %s WHERE name = %s"


class Line:
    """One cron line.

    Raises:
        SystemExit: the line, its zone or its message is wrong; the text says what to mend.
    """

    def __init__(self, name: str, line: CronLine) -> None:
        self.name = name
        self.missed = line.missed
        try:
            _refuse_numeric_weekdays(line.cron)
            self._message = MESSAGES[name]()
            self._zone = zone(line.zone)
            self._trigger = CronTrigger.from_crontab(line.cron, timezone=self._zone)
        except KeyError:
            raise SystemExit(f"timetable: no message is called {name!r}: use one of {', '.join(MESSAGES)}") from None
        except ValueError as error:
            raise SystemExit(f"timetable: {name}: {error}") from None
        # A line that fires at given hours is a thing of the local day, so its tick is the local time, which comes once
        # even when the hour comes twice. One that fires through the day ticks by the instant.
        self._daily = not line.cron.split()[1].startswith("*")

    def ticks(self, after: datetime, until: datetime) -> Iterator[tuple[str, datetime]]:
        """Give key and instant of each tick in (after, until]."""
        seen: set[str] = set()
        at = self._next(after)
        while at is not None and at <= until:
            key = self._key(at)
            if key not in seen:
                seen.add(key)
                yield key, at
            at = self._next(at)

    def next_after(self, now: datetime) -> datetime | None:
        """Give the first instant after ``now``."""
        return next((at for _, at in self.ticks(now, now + timedelta(days=400))), None)

    def _next(self, after: datetime) -> datetime | None:
        """Ask in UTC and without the tick before: with it, the trigger stands still for ever in a doubled hour."""
        at: datetime | None = self._trigger.get_next_fire_time(None, after.astimezone(UTC) + timedelta(microseconds=1))
        return at and at.astimezone(UTC)

    def _key(self, at: datetime) -> str:
        local = at.astimezone(self._zone)
        return local.replace(tzinfo=None).isoformat() if self._daily else at.astimezone(UTC).isoformat()

    def fire(self, connection: db.Connection) -> int:
        """Make the jobs of the ticks since the last one. Returns how many there were; over ``MAX_TICKS``: go on."""
        connection.execute(KNOW, (self.name,))
        row: Any = connection.execute(LAST, (self.name,)).fetchone()
        found = list(islice(self.ticks(row["last_tick"], row["now"]), MAX_TICKS + 1))
        if not found:
            return 0
        failpoint("ticking")
        due = found[:MAX_TICKS]
        for key in self._chosen(due, row["now"], more=len(found) > MAX_TICKS):
            enqueue(connection, self._message, dedupe_key=f"cron:{self.name}:{key}", source="timetable")
            metrics.ticks.labels(self.name).inc()
        connection.execute(TICKED, (due[-1][1], self.name))
        return len(found)

    def _chosen(self, due: list[tuple[str, datetime]], now: datetime, *, more: bool) -> list[str]:
        """Apply the policy for ticks slept over; where ``more`` follow, the last of these is not the latest."""
        if self.missed == "latest":
            return [] if more else [due[-1][0]]
        return [key for key, at in due if self.missed == "all" or now - at < timedelta(minutes=1)]


def _refuse_numeric_weekdays(cron: str) -> None:
    """APScheduler counts from Monday = 0 where cron counts from Sunday, so a number would mean another day."""
    fields = cron.split()
    if len(fields) == 5 and re.search(r"\d", fields[4]):
        raise ValueError(f"weekday {fields[4]!r} in {cron!r}: use day names such as mon or mon-fri")


class Timetable:
    """All cron lines of the settings."""

    def __init__(self) -> None:
        self.lines = [Line(name, line) for name, line in settings().timetable.items()]

    def fire(self) -> float:
        """Make the jobs that are due by PostgreSQL's clock. Returns the seconds until the next tick."""
        for line in self.lines:
            ticks = more = MAX_TICKS + 1
            while ticks >= more:
                with db.transaction() as connection:
                    ticks = line.fire(connection)
            if ticks:
                logs.get().info("ticked", schedule=line.name, ticks=ticks)
        with db.transaction() as connection:
            row: Any = connection.execute(NOW).fetchone()
        following = [at for line in self.lines if (at := line.next_after(row["now"]))]
        return min([(at - row["now"]).total_seconds() for at in following], default=60)
