"""What keeps SMS from being abused: countries, and caps per recipient and for the shop, over 24 hours."""

from __future__ import annotations

import time
from typing import LiteralString

import phonenumbers

from shared import db
from shared.errors import PermanentError, RetryLater
from shared.messages import hint
from shared.settings import settings

RETRY_S = 3600
RECOUNT_S = 30

TO_RECIPIENT: LiteralString = """
SELECT count(*) FROM deliveries
WHERE channel = 'sms' AND address_hash = %s AND sending_at > (SELECT clock_timestamp() - interval '1 day')
"""
BY_SHOP: LiteralString = """
SELECT count(*) FROM deliveries WHERE channel = 'sms' AND sending_at > (SELECT clock_timestamp() - interval '1 day')
"""


def check(connection: db.Connection, number: str) -> None:
    """Let an SMS to a number pass.

    Raises:
        PermanentError: its country gets none.
        RetryLater: a cap is reached; no attempt is burnt.
    """
    own = settings()
    country = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    if own.sms_countries and country not in own.sms_countries:
        raise PermanentError("country", f"no SMS to {country}: add it to JOBS_SMS_COUNTRIES")
    if _count(connection, TO_RECIPIENT, hint(number)) >= own.sms_per_recipient_a_day:
        raise RetryLater("recipient_cap", after_s=RETRY_S, detail="this number has had its SMS of 24 hours")
    if _of_shop.count(connection) >= own.sms_a_day:
        raise RetryLater("shop_cap", after_s=RETRY_S, detail="JOBS_SMS_A_DAY is reached")


def _count(connection: db.Connection, query: LiteralString, *values: str) -> int:
    row = connection.execute(query, values).fetchone()
    return int(row["count"]) if row else 0


class _OfShop:
    """Count the shop's SMS of 24 hours, anew every half minute: counting 100,000 rows for each SMS would be slow."""

    def __init__(self) -> None:
        self._known: tuple[str, float, int] = ("", 0.0, 0)

    def count(self, connection: db.Connection) -> int:
        place = connection.info.dbname
        if self._known[0] != place or time.monotonic() - self._known[1] > RECOUNT_S:
            self._known = (place, time.monotonic(), _count(connection, BY_SHOP))
        return self._known[2]


_of_shop = _OfShop()
