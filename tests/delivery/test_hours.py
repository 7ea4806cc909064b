"""Quiet hours, countries and caps: when and to whom an SMS may go at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.delivery.actors  # noqa: F401  # registers the actors
from services.delivery import limits
from services.delivery.hours import quiet_until, zones_of
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from tests.outside import Outside

Card = Callable[..., UUID]
Deliver = Callable[..., list[UUID]]
Sql = Callable[..., list[dict[str, Any]]]
JobRow = Callable[[UUID], dict[str, Any]]
BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
NIGHT = "21:00-08:00"


@pytest.mark.parametrize(
    ("now", "window", "until"),
    [
        ("2026-12-24T12:00+01:00", NIGHT, None),
        ("2026-12-24T20:59+01:00", NIGHT, None),
        ("2026-12-24T21:00+01:00", NIGHT, "2026-12-25T08:00+01:00"),
        ("2026-12-25T00:30+01:00", NIGHT, "2026-12-25T08:00+01:00"),
        ("2026-12-25T08:00+01:00", NIGHT, None),
        ("2026-12-25T13:30+01:00", "13:00-14:00", "2026-12-25T14:00+01:00"),
        ("2026-03-28T23:00+01:00", NIGHT, "2026-03-29T08:00+02:00"),  # the night that is an hour shorter
        ("2026-12-24T23:00+01:00", "", None),
    ],
)
def test_a_night_in_berlin(now: str, window: str, until: str | None) -> None:
    found = quiet_until(datetime.fromisoformat(now), window, [BERLIN])

    assert found == (datetime.fromisoformat(until) if until else None)


def test_it_must_be_day_in_every_zone_where_the_recipient_may_be() -> None:
    now = datetime.fromisoformat("2026-12-24T10:00+00:00")  # 11:00 in Berlin, 19:00 in Tokyo

    assert quiet_until(now, NIGHT, [BERLIN, TOKYO]) is None
    later = quiet_until(now + timedelta(hours=3), NIGHT, [BERLIN, TOKYO])
    assert later == datetime.fromisoformat("2026-12-25T07:00+00:00")  # 08:00 in Berlin, 16:00 in Tokyo


@given(st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1)), st.sampled_from(["Europe/Berlin", "Asia/Kathmandu"]))
def test_whatever_the_time_the_end_of_quiet_is_later_within_a_day_and_not_quiet(now: datetime, name: str) -> None:
    place, at = ZoneInfo(name), now.replace(tzinfo=UTC)

    until = quiet_until(at, NIGHT, [place])

    if until is not None:
        assert at < until <= at + timedelta(hours=12)
        assert quiet_until(until, NIGHT, [place]) is None
    else:
        assert 8 <= at.astimezone(place).hour < 21


def test_a_number_whose_prefix_tells_no_zone_is_where_the_card_says() -> None:
    assert zones_of("+8835100012345", "Asia/Tokyo") == [TOKYO]
    assert len(zones_of("+16045550123", "Asia/Tokyo")) >= 1


def test_an_sms_waits_for_the_morning_and_a_mail_does_not(
    card: Card, deliver: Deliver, outside: Outside, setting: Callable[..., None], job: JobRow
) -> None:
    setting(sms_quiet_hours="00:00-23:59")  # but one minute of the day
    card_id = card()

    by_sms, by_mail = deliver(SendGiftCardSms(gift_card_id=card_id)), deliver(SendGiftCardEmail(gift_card_id=card_id))

    if job(by_sms[0])["state"] != "succeeded":  # in that minute
        assert (job(by_sms[0])["reason"], job(by_sms[0])["attempt"]) == ("quiet_hours", 0)
        assert outside.messages("sms") == []
    assert job(by_mail[0])["state"] == "succeeded"


def test_a_country_that_gets_no_sms_is_told_and_tried_no_more(
    card: Card, deliver: Deliver, outside: Outside, setting: Callable[..., None], job: JobRow, sql: Sql
) -> None:
    setting(sms_countries='["DE"]')

    (job_id,) = deliver(SendGiftCardSms(gift_card_id=card(recipient_email=None)))

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("failed", "country")
    assert [row["reason"] for row in sql("SELECT reason FROM deliveries")] == ["country"]
    assert outside.messages() == []


def test_one_number_gets_so_many_a_day_and_the_rest_waits(
    card: Card, deliver: Deliver, outside: Outside, setting: Callable[..., None], job: JobRow
) -> None:
    setting(sms_per_recipient_a_day=2)

    for _ in range(2):
        deliver(SendGiftCardSms(gift_card_id=card()))
    (third,) = deliver(SendGiftCardSms(gift_card_id=card()))
    (other,) = deliver(SendGiftCardSms(gift_card_id=card(recipient_phone="+14155550124")))

    assert (job(third)["reason"], job(third)["attempt"]) == ("recipient_cap", 0)
    assert job(other)["state"] == "succeeded"
    assert len(outside.messages("sms")) == 3


def test_the_shop_sends_so_many_a_day(
    card: Card,
    deliver: Deliver,
    outside: Outside,
    setting: Callable[..., None],
    job: JobRow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting(sms_a_day=1)
    monkeypatch.setattr(limits, "RECOUNT_S", -1)

    deliver(SendGiftCardSms(gift_card_id=card(recipient_phone="+14155550125")))
    (second,) = deliver(SendGiftCardSms(gift_card_id=card()))

    assert job(second)["reason"] == "shop_cap"
