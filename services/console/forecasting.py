"""``forecast``: what will fire before it does, with the money at stake."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from services.console import ahead, tables
from services.console.session import AsJson, Refused, connected, known
from shared.wall_time import zone

BAR = 20
EIGHTHS = " ▏▎▍▌▋▊▉"
COLUMNS = {
    "begins": "",
    "queue": "queue",
    "what": "what",
    "count": "count",
    "at_stake": "money",
    "currency": "",
    "bar": "",
}


def forecast(
    days: Annotated[float, typer.Option(min=0.01, max=3700, help="How far to look.")] = 30,
    by: Annotated[str, typer.Option("--by", help="hour or day.")] = "hour",
    zone_name: Annotated[str, typer.Option("--zone", help="IANA zone whose hours and days are meant.")] = "UTC",
    json: AsJson = False,
) -> None:
    """Show what will fire, by hour or day, queue and currency, with the money at stake.

    Scheduled jobs (with the balances of their cards), reminders yet to be planned, and cards that expire.

    Example: forecast --days 30 --by day

    Example: forecast --days 1 --zone Europe/Berlin
    """
    known(by, "span", ("hour", "day"))
    try:
        place = zone(zone_name)
    except ValueError as error:
        raise Refused(str(error)) from None
    with connected() as connection:
        found = ahead.forecast(connection, days=days, by=by, zone=place.key)
    if json:
        return tables.as_json(found)
    now, until = (found[at].astimezone(place) for at in ("now", "until"))
    title = f"as of {now:%Y-%m-%d %H:%M}, until {until:%Y-%m-%d %H:%M} ({place.key})"
    tables.show(_shown(found["rows"], by, place), COLUMNS, title=title, empty="nothing will fire")
    return _sums(found)


def _shown(rows: list[dict[str, Any]], by: str, place: ZoneInfo) -> list[dict[str, Any]]:
    most = max((row["count"] for row in rows), default=1)
    form = "%a %Y-%m-%d" if by == "day" else "%a %Y-%m-%d %H:%M"
    shown, last = [], None
    for row in rows:
        begins = row["at"].astimezone(place).strftime(form)
        at_stake = None if row["money"] is None else tables.money(row["money"])
        extra = {"begins": "" if begins == last else begins, "at_stake": at_stake, "bar": bar(row["count"] / most)}
        shown.append(row | extra)
        last = begins
    return shown


def bar(share: float) -> str:
    """Draw a share of the most as a bar of up to 20 characters; what is not nothing is seen."""
    eighths = max(1, round(share * BAR * 8))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _sums(found: dict[str, Any]) -> None:
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in found["rows"]:
        if row["currency"]:
            sums[_kind(row)][row["currency"]] += row["money"]
    for row in found["held"]:
        sums[f"held, their gift reached nobody ({row['count']} {row['currency']} cards)"][row["currency"]] += row[
            "money"
        ]
    for kind, amounts in sums.items():
        tables.say(f"{kind}: " + ", ".join(f"{tables.money(amounts[c])} {c}" for c in sorted(amounts)))


def _kind(row: dict[str, Any]) -> str:
    if row["what"] == "cards expire":
        return "expires"
    return "is reminded of" if row["queue"] == "expiry-reminders" else "is on its way to people"
