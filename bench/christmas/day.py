"""The day itself, second by second: how much waits where, and how late each delivery is handed to its provider."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

PEOPLE = Path(__file__).with_name("people.csv")
MORNING = datetime(2026, 12, 25, 9)


@dataclass(frozen=True, slots=True)
class Pace:
    """What each part can do: rows or jobs a second, and the messages that the relay keeps in each queue."""

    relay: int
    handoff: int
    mail: int
    depth: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The state at the end of a second; ``late_s`` is how late the last delivery of it was, if one was sent."""

    second: int
    table: int
    broker: int
    late_s: int | None


@dataclass(frozen=True)
class Day:
    """What came of it: every second until all were sent, and how many deliveries were how late (seconds)."""

    moments: list[Moment]
    lateness: Counter[int] = field(default_factory=Counter)

    @cached_property
    def latest(self) -> list[int]:
        """Give the lateness of each delivery, in order."""
        return sorted(self.lateness.elements())


def people() -> dict[str, float]:
    """Give millions of people by IANA zone: an assumption, rounded (see docs/scaling.md)."""
    with PEOPLE.open() as file:
        return {row["zone"]: float(row["millions"]) for row in csv.DictReader(file)}


def wishes(deliveries: int, weights: Mapping[str, float]) -> dict[datetime, int]:
    """Share deliveries out among zones by weight, and give how many are due at each instant, in order.

    Parameters:
        weights: by IANA zone; rest goes to the zones whose shares were cut most, so that the sum is exact.
    """
    exact = {zone: deliveries * weight / sum(weights.values()) for zone, weight in weights.items()}
    shares = {zone: int(share) for zone, share in exact.items()}
    cut = sorted(exact, key=lambda zone: (shares[zone] - exact[zone], zone))
    for zone in cut[: deliveries - sum(shares.values())]:
        shares[zone] += 1
    due = Counter[datetime]()
    for zone, share in shares.items():
        due[MORNING.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))] += share
    return dict(sorted(due.items()))


def simulate(due: Mapping[int, int], pace: Pace) -> Day:
    """Work off what is due, by its second: relay, hand-off, relay, mail, the oldest first.

    A job that is handed off asks for its mail by a row, which the relay sees a second later at the latest.

    Raises:
        ValueError: some part stands still, and the day would not end.
    """
    if min(pace.relay, pace.handoff, pace.mail, pace.depth) < 1:
        raise ValueError(f"{pace} stands still: each part must do at least one a second")
    day = Day([])
    for moment, lateness in _seconds(due, pace):
        day.moments.append(moment)
        day.lateness.update(lateness)
    return day


def _seconds(due: Mapping[int, int], pace: Pace) -> Iterator[tuple[Moment, Counter[int]]]:
    deliveries = mails = handing = sending = second = 0  # the first two are rows, the others messages
    oldest = deque(sorted(due.items()))
    left = sum(due.values())
    while left:
        deliveries += due.get(second, 0)
        relayed = min(mails, pace.depth - sending, pace.relay)
        mails, sending = mails - relayed, sending + relayed
        relayed = min(deliveries, pace.depth - handing, pace.relay - relayed)
        deliveries, handing = deliveries - relayed, handing + relayed
        handed = min(handing, pace.handoff)
        handing, mails = handing - handed, mails + handed
        sent = min(sending, pace.mail)
        sending, left = sending - sent, left - sent
        lateness = _take(oldest, sent, second)
        yield Moment(second, deliveries + mails, handing + sending, min(lateness, default=None)), lateness
        second += 1


def _take(oldest: deque[tuple[int, int]], sent: int, second: int) -> Counter[int]:
    """Take what was sent off the oldest, and give how late it was."""
    lateness = Counter[int]()
    while sent:
        since, number = oldest.popleft()
        taken = min(number, sent)
        lateness[second - since] += taken
        sent -= taken
        if number > taken:
            oldest.appendleft((since, number - taken))
    return lateness
