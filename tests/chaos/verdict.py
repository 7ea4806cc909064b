"""What the shop asked for, beside what the outside world accepted and what the rows say: every difference counted."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.messages import hint
from tests.chaos.control.shop import address
from tests.delivery.verdict import ENDS

Row = dict[str, Any]
CHANNELS = ("email", "sms")
WINDOW_S = 10  # of I17: what was held up and let go at once is no rate

DELIVERIES = """
SELECT d.*, j.finished_at IS NOT NULL AS over FROM deliveries d LEFT JOIN jobs j ON j.id = d.job_id
"""
WISHES = """
SELECT w.*, ARRAY(SELECT what FROM chaos.changes c WHERE c.card_id = w.card_id
        AND (what NOT IN ('cancel', 'reschedule') OR result IN ('cancelled', 'moved'))) AS changes,
    EXISTS (SELECT FROM jobs j WHERE j.gift_card_id = w.card_id AND j.finished_at IS NULL) AS unfinished,
    EXISTS (SELECT FROM jobs j WHERE j.gift_card_id = w.card_id AND j.finished_at IS NOT NULL AND j.reason IS NOT NULL
        AND j.state IN ('skipped', 'rejected', 'cancelled', 'failed')) AS told_why
FROM chaos.wishes w
"""
CHANGES = "SELECT * FROM chaos.changes WHERE what = 're-address' OR (what = 'cancel' AND result = 'cancelled')"


@dataclass
class Evidence:
    """All that is known at the end."""

    wishes: list[Row]
    changes: list[Row]
    deliveries: list[Row]
    accepted: list[Row]
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def wrong(self, invariant: str, what: object) -> None:
        """Note one violation, with what it is about."""
        self.found[invariant].append(str(what))


def gather(connection: Any, journal: Path) -> Evidence:
    """Read rows and journal; the control's mails are not ours."""
    wishes, changes, deliveries = (connection.execute(query).fetchall() for query in (WISHES, CHANGES, DELIVERIES))
    ours = [entry for entry in entries(journal) if not entry["to"].startswith("control")]
    return Evidence(wishes, changes, deliveries, ours)


def entries(journal: Path) -> Iterator[Row]:
    """Read what was accepted, in order, without the raw texts."""
    with journal.open() as file:
        for line in file:
            entry = json.loads(line)
            entry.pop("raw", None)
            yield entry


def judge(seen: Evidence, rates: dict[str, float]) -> dict[str, Any]:
    """Hold rows, journal and wishes against each other; give the figures per channel."""
    by_delivery = _match(seen)
    for delivery in seen.deliveries:
        _once(seen, delivery, by_delivery[delivery["id"]])
    _wishes(seen)
    _changes(seen, by_delivery)
    _rates(seen, rates)
    return {channel: _figures(seen, by_delivery, channel) for channel in CHANNELS}


def _match(seen: Evidence) -> dict[Any, list[Row]]:
    """Give what was accepted of each delivery: mails by their Message-ID, texts by their number."""
    mails = {d["message_id"]: d["id"] for d in seen.deliveries if d["channel"] == "email" and d["message_id"]}
    texts = {d["address_hash"]: d["id"] for d in seen.deliveries if d["channel"] == "sms" and d["address_hash"]}
    found: dict[Any, list[Row]] = defaultdict(list)
    for entry in seen.accepted:
        mail = entry["channel"] == "email"
        delivery = mails.get(entry["message_id"]) if mail else texts.get(hint(entry["to"]))
        if delivery is None:
            seen.wrong("I7", f"accepted, unknown to the rows: {entry['n']}")
        else:
            found[delivery].append(entry)
    return found


def _once(seen: Evidence, delivery: Row, accepted: list[Row]) -> None:
    times, mail, about = len(accepted), delivery["channel"] == "email", delivery["id"]
    if times > (1 + min(1, delivery["resends"]) if mail else 1):
        seen.wrong("I6", f"{delivery['channel']} accepted {times} times: {about}")
    if len(accepted) and delivery["state"] not in ("sent", "delivered", "unconfirmed"):
        seen.wrong("I7", f"accepted, but {delivery['state']}: {about}")
    ids = {entry["queue_id" if mail else "sid"] for entry in accepted}
    if delivery["state"] in ("sent", "delivered") and delivery["provider_id"] not in ids:
        seen.wrong("I7", f"sent, but not accepted: {about}")
    if delivery["state"] not in ("sent", "delivered") and not (delivery["state"] in ENDS and delivery["reason"]):
        seen.wrong("I8", f"{delivery['state']} without an end: {about}")


def _wishes(seen: Evidence) -> None:
    by_card: dict[Any, list[Row]] = defaultdict(list)
    for delivery in seen.deliveries:
        by_card[delivery["gift_card_id"]].append(delivery)
    for wish in seen.wishes:
        for channel in wish["wants"]:
            has = any(d["channel"] == channel and d["kind"] == "gift" for d in by_card[wish["card_id"]])
            excused = wish["told_why"] and wish["changes"]
            if not has and not excused:
                seen.wrong("I8", f"no delivery by {channel}: card {wish['card_id']}, {wish['story']}")
        if wish["unfinished"]:
            seen.wrong("I11", f"unfinished: card {wish['card_id']}, {wish['story']}")


def _changes(seen: Evidence, by_delivery: dict[Any, list[Row]]) -> None:
    """An attempt that began before the change could not be taken back; none may begin after it."""
    of_card: dict[Any, list[Row]] = defaultdict(list)
    for delivery in seen.deliveries:
        of_card[delivery["gift_card_id"]].append(delivery)
    for change in seen.changes:
        for delivery in of_card[change["card_id"]]:
            accepted = by_delivery[delivery["id"]]
            if change["what"] == "re-address":
                accepted = [entry for entry in accepted if entry["to"] in (change["email"], change["phone"])]
            began = [a for a in delivery["attempts"] if datetime.fromisoformat(a["at"]) <= change["at"]]
            if len(accepted) > len(began):
                seen.wrong("I9", f"{change['what']} came first: {delivery['id']}")
    due = {wish["card_id"]: wish["due_at"] for wish in seen.wishes if wish["story"].startswith(("gift for", "burst"))}
    for delivery in seen.deliveries:
        at = due.get(delivery["gift_card_id"])
        if at and delivery["kind"] == "gift" and any(_seconds(e) < at.timestamp() for e in by_delivery[delivery["id"]]):
            seen.wrong("I10", f"sent before its time: {delivery['id']}")


def _rates(seen: Evidence, rates: dict[str, float]) -> None:
    """No window of ten seconds has more than the limit allows, and a twentieth more."""
    for channel, rate in rates.items():
        times = sorted(_seconds(entry) for entry in seen.accepted if entry["channel"] == channel)
        first = 0
        for last, at in enumerate(times):
            while at - times[first] >= WINDOW_S:
                first += 1
            if last - first + 1 > rate * WINDOW_S * 1.05:
                seen.wrong("I17", f"{last - first + 1} {channel} in {WINDOW_S} s")
                break


def _seconds(entry: Row) -> float:
    return datetime.fromisoformat(entry["at"]).timestamp()


def _figures(seen: Evidence, by_delivery: dict[Any, list[Row]], channel: str) -> dict[str, int]:
    mine = [d for d in seen.deliveries if d["channel"] == channel]
    ends = Counter(d["state"] for d in mine)
    return {
        "asked": sum(channel in wish["wants"] for wish in seen.wishes),
        "deliveries": len(mine),
        "accepted": sum(bool(by_delivery[d["id"]]) for d in mine),
        "lost": sum(f.startswith(f"no delivery by {channel}") for f in seen.found["I8"])
        + sum(not by_delivery[d["id"]] and not (d["state"] in ENDS and d["reason"]) for d in mine),
        "resent": sum(d["resends"] for d in mine),
        "accepted twice, as counted resends": sum(len(by_delivery[d["id"]]) == 2 and d["resends"] == 1 for d in mine)
        if channel == "email"
        else 0,
        "duplicates": sum(f.startswith(f"{channel} accepted") for f in seen.found["I6"]),
        "held": ends["unconfirmed"],
        "failed with a reason": ends["failed"] + ends["bounced"],
        "skipped, suppressed or cancelled": ends["skipped"] + ends["suppressed"] + ends["cancelled"],
    }


def control(asked: Iterable[int], journal: Path) -> dict[str, int]:
    """Count what the stock design lost and doubled of what it was asked for."""
    got = Counter(entry["to"] for entry in entries(journal) if entry["to"].startswith("control"))
    wanted = {address(number) for number in asked}
    return {
        "asked": len(wanted),
        "accepted": len(wanted & got.keys()),
        "lost": len(wanted - got.keys()),
        "doubled": sum(number > 1 for number in got.values()),
        "most copies of one": max(got.values(), default=0),
    }


def delays(seen: Evidence) -> dict[str, dict[str, float]]:
    """Give due to accepted in seconds, per phase in which it was due: of what nobody changed, its first acceptance."""
    first: dict[Any, float] = {}
    by_delivery = _match(Evidence([], [], seen.deliveries, seen.accepted))
    for delivery in seen.deliveries:
        if by_delivery[delivery["id"]] and delivery["kind"] == "gift":
            at = min(map(_seconds, by_delivery[delivery["id"]]))
            first[delivery["gift_card_id"]] = min(at, first.get(delivery["gift_card_id"], at))
    in_order = sorted(seen.wishes, key=lambda wish: wish["due_at"])
    began = {wish["phase"]: wish["due_at"] for wish in reversed(in_order)}
    by_phase: dict[str, list[float]] = defaultdict(list)
    for wish in in_order:
        if wish["wants"] and not wish["changes"] and wish["card_id"] in first:
            phase = max((at, phase) for phase, at in began.items() if at <= wish["due_at"])[1]
            by_phase[phase].append(first[wish["card_id"]] - wish["due_at"].timestamp())
    return {phase: _percentiles(sorted(found)) for phase, found in by_phase.items()}


def _percentiles(found: list[float]) -> dict[str, float]:
    return {
        "n": len(found),
        "p50_s": round(found[len(found) // 2], 3),
        "p99_s": round(found[min(len(found) - 1, len(found) * 99 // 100)], 3),
    }
