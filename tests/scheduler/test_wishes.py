"""Wall-clock wishes: kept as such, and derived anew when zones change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.scheduler.wishes import rederive
from shared import db
from shared.enqueue import enqueue, reschedule
from shared.messages import DeliverGiftCard

Card = Callable[..., UUID]
Sql = Callable[..., list[dict[str, Any]]]
WISH: dict[str, Any] = {"method": "email", "deliver_local": datetime(2031, 12, 25, 9), "deliver_tz": "Europe/Berlin"}
NINE = datetime.fromisoformat("2031-12-25T08:00+00:00")


def wish(card: Card) -> UUID:
    with db.transaction() as connection:
        return enqueue(connection, DeliverGiftCard(gift_card_id=card(expires_on="2035-01-01"), **WISH))


def test_a_wish_whose_instant_is_wrong_by_now_is_moved_to_its_wall_time(
    card: Card, sql: Sql, job: Callable[[UUID], dict[str, Any]]
) -> None:
    job_id = wish(card)
    sql("UPDATE jobs SET run_at = run_at + interval '1 hour'")  # as if the zone had changed since

    moved = rederive()

    assert moved == 1
    assert job(job_id)["run_at"] == NINE
    assert rederive() == 0


@pytest.mark.parametrize("service", [None])  # another service's part is played, too
def test_a_job_that_somebody_moved_stays_where_it_was_put(card: Card, job: Callable[[UUID], dict[str, Any]]) -> None:
    job_id = wish(card)

    with db.transaction() as connection:
        reschedule(connection, job_id, NINE + timedelta(days=2))

    assert rederive() == 0
    assert job(job_id)["run_at"] == NINE + timedelta(days=2)
