"""A database that comes from a backup knows nothing of what was sent since: as the page says, it asks first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import LiteralString, cast

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.kinds import Deliver, Issue, Sql
from tests.outside import Outside

PAGE = Path(__file__).parents[2] / "docs/operations.md"
BACKUP: LiteralString = """
UPDATE deliveries SET state = 'queued', sending_at = NULL, sent_at = NULL, provider_id = NULL, message_id = NULL,
    attempts = '[]';
UPDATE jobs SET state = 'queued', finished_at = NULL, lease_until = NULL
"""


def test_what_was_sent_after_the_backup_is_found_by_asking(
    card: Issue, deliver: Deliver, outside: Outside, sql: Sql
) -> None:
    text, mail = Envelope(SendGiftCardSms(gift_card_id=card())), Envelope(SendGiftCardEmail(gift_card_id=card()))
    deliver(text, mail)
    message_id = outside.messages("email")[0]["message_id"]
    sql(BACKUP)
    [mark] = re.findall(
        r"^```sql\n(UPDATE deliveries SET state = 'unconfirmed'.*?)^```$", PAGE.read_text(), re.M | re.S
    )

    sql(cast(LiteralString, mark))
    deliver(text, mail)

    assert len(outside.messages("sms")) == 1, "Twilio said that it had it"
    assert [m["message_id"] for m in outside.messages("email")] == [message_id] * 2, "nobody can say, so once more"
    assert sql("SELECT channel, state, resends FROM deliveries ORDER BY channel") == [
        {"channel": "email", "state": "sent", "resends": 1},
        {"channel": "sms", "state": "sent", "resends": 0},
    ]
