"""What the world outside accepted, beside what our rows say: every way in which the two can differ, counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
# With a reason, each is an end that somebody can act on.
ENDS = {"failed", "bounced", "unconfirmed", "suppressed", "skipped", "cancelled"}

DELIVERIES = """
SELECT d.*, coalesce(c.recipient_email, c.recipient_phone) AS address, j.finished_at
FROM gift_cards c LEFT JOIN deliveries d ON d.gift_card_id = c.id LEFT JOIN jobs j ON j.id = d.job_id
"""


@dataclass(frozen=True)
class Verdict:
    """Count what must not be: each field is 0 after a run of the real thing, but ``resent``, which is allowed.

    Parameters:
        lost: neither accepted nor at an end with a reason.
        texts_doubled: SMS accepted more than once.
        mails_doubled: mails accepted more often than their one counted resend explains, or under another Message-ID.
        resent: mails accepted twice as a counted resend.
        not_in_rows: accepted, and the row says that it was not sent.
        not_accepted: the row says sent, and the provider's id in it is of no accepted message.
        not_one_row: cards without their one delivery.
    """

    lost: int
    texts_doubled: int
    mails_doubled: int
    resent: int
    not_in_rows: int
    not_accepted: int
    not_one_row: int

    def wrong(self) -> dict[str, int]:
        """Give what is not 0 and must be."""
        return {name: count for name, count in vars(self).items() if count and name != "resent"}


def verdict(rows: Iterable[Row], accepted: Iterable[Row]) -> Verdict:
    """Compare the deliveries (see ``DELIVERIES``) with the journal of what was accepted."""
    entries: dict[str, list[Row]] = defaultdict(list)
    for entry in accepted:
        entries[entry["to"]].append(entry)
    found = list(rows)
    per_card = Counter(row["address"] for row in found)
    counts = Counter[str]()
    for row in found:
        counts.update(_wrong_of(row, entries[row["address"]]))
    counts["not_one_row"] += sum(n != 1 for n in per_card.values()) + len(entries.keys() - per_card.keys())
    return Verdict(**{name: counts[name] for name in Verdict.__dataclass_fields__})


def _wrong_of(row: Row, entries: list[Row]) -> dict[str, bool]:
    times, mail = len(entries), row["channel"] == "email"
    names = {entry["message_id"] for entry in entries} if mail else set()
    ids = {entry["queue_id" if mail else "sid"] for entry in entries}
    ended = row["state"] in ENDS and row["reason"] is not None and row["finished_at"] is not None
    return {
        "lost": not (times or ended),
        "texts_doubled": not mail and times > 1,
        "mails_doubled": mail and (times > min(2, 1 + row["resends"]) or bool(names - {row["message_id"]})),
        "resent": mail and times == 2 and row["resends"] == 1,
        "not_in_rows": times > 0 and row["state"] not in ("sent", "unconfirmed"),
        "not_accepted": row["state"] == "sent" and row["provider_id"] not in ids,
        "not_one_row": row["state"] is None,
    }
