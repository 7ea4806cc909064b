"""The simulated 25 December adds up, and its page and picture are what the program makes of the figures."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from bench import results
from bench.christmas import page, picture
from bench.christmas.day import Moment, Pace, people, simulate, wishes
from bench.page import END


def test_five_due_at_once_go_out_two_a_second_as_reckoned_by_hand() -> None:
    day = simulate({0: 5}, Pace(relay=10, handoff=10, mail=2, depth=2))

    assert day.moments == [
        Moment(0, table=5, broker=0, late_s=None),  # two were handed off: their mails are rows
        Moment(1, table=3, broker=0, late_s=1),
        Moment(2, table=1, broker=0, late_s=2),
        Moment(3, table=0, broker=0, late_s=3),
    ]
    assert day.lateness == Counter({1: 2, 2: 2, 3: 1})


def test_what_the_provider_is_too_slow_for_waits_in_the_table_and_the_queues_stay_at_their_depth() -> None:
    day = simulate({0: 500, 60: 500}, Pace(relay=300, handoff=50, mail=7, depth=20))

    assert max(moment.broker for moment in day.moments) == 20 - 7, "a full queue at the end of a second"
    assert max(moment.table for moment in day.moments) > 500
    assert sum(day.lateness.values()) == 1000
    assert len(day.moments) == 1 + -(-1000 // 7), "never idle after the first second"


def test_a_slow_relay_is_shared_by_both_of_its_queues() -> None:
    day = simulate({0: 100}, Pace(relay=10, handoff=100, mail=100, depth=1000))

    assert 20 <= len(day.moments) <= 22, "each delivery is two rows"


def test_a_part_that_stands_still_is_refused() -> None:
    with pytest.raises(ValueError, match="stands still"):
        simulate({0: 1}, Pace(relay=1, handoff=1, mail=0, depth=1))


def test_nine_oclock_comes_zone_by_zone_and_no_delivery_is_lost_in_the_shares() -> None:
    due = wishes(1_000_000, people())

    assert sum(due.values()) == 1_000_000
    assert next(iter(due)) == datetime(2026, 12, 24, 19, tzinfo=UTC), "Kiritimati"
    assert list(due)[-1] == datetime(2026, 12, 25, 20, tzinfo=UTC), "Pago Pago"
    assert wishes(3, {"Europe/Berlin": 1, "Asia/Tokyo": 1}) == {
        datetime(2026, 12, 25, 0, tzinfo=UTC): 2,
        datetime(2026, 12, 25, 8, tzinfo=UTC): 1,
    }


def test_page_and_picture_are_what_the_figures_make() -> None:
    found = results.read()
    written = page.PAGE.read_text()

    assert page.BEGIN + page.capacity(found["cases"]) + END in written
    assert page.BEGIN_DAY + page.days(found["cases"]) + END in written
    assert picture.PICTURE.read_text() == page.drawn(found["cases"])


def test_the_page_stays_as_it_is_while_only_some_cases_are_measured() -> None:
    before = page.PAGE.read_text(), picture.PICTURE.read_bytes()

    page.write({"cases": {"l": {}}})
    without_postfix = results.read()["cases"] | {"g": {"ways": {}}}
    page.write({"cases": without_postfix})

    assert (page.PAGE.read_text(), picture.PICTURE.read_bytes()) == before
