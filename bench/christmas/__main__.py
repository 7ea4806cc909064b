"""Simulate a 25 December: deliveries wished for 09:00 where each recipient lives, and what the provider takes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from bench import results
from bench.christmas import page
from bench.frame import percentile

EXAMPLES = """\
examples:
  python -m bench.christmas                                 a million over all zones, 100 mails a second
  python -m bench.christmas --limit 500                     what a higher limit of the provider would bring
  python -m bench.christmas --zone Europe/Berlin            everybody's nine o'clock at once
  python -m bench.christmas --deliveries 50000 --limit 10   a smaller shop, the default rate
  python -m bench.christmas --write                         write docs/scaling.md and its picture anew

What a relay and a worker can do is read from bench/results/latest.json.
"""


def main() -> None:
    """Live through one day and say what came of it; or write the page."""
    options = _options()
    found = results.read()
    if options.write:
        page.write(found)
        return
    first, day = page.live(page.Plan("", options.limit, options.zone), found["cases"], options.deliveries)
    handing, mailing = page.processes(found["cases"], options.limit)
    late = {name: percentile(day.latest, share) / 60 for name, share in {"p50": 0.5, "p99": 0.99, "max": 1}.items()}
    print(f"first due {first:%d %b %H:%M} UTC, all sent {len(day.moments) / 3600:.1f} h later")
    print(f"worker processes: {handing} to hand off, {mailing} to mail")
    print(f"most due rows in the table {max(m.table for m in day.moments):,}", end=", ")
    print(f"most in RabbitMQ {max(m.broker for m in day.moments):,}")
    print("minutes late: " + ", ".join(f"{name} {minutes:,.0f}" for name, minutes in late.items()))


def _options() -> Namespace:
    parser = ArgumentParser(
        prog="python -m bench.christmas",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--deliveries", type=int, default=page.DELIVERIES, help="how many (default 1,000,000)")
    add("--limit", type=int, default=100, help="mails a second that the provider takes (default 100)")
    add("--zone", help="all in this IANA zone, instead of where people live")
    add("--write", action="store_true", help="write the page and the picture; the other options do not matter then")
    options = parser.parse_args()
    if min(options.deliveries, options.limit) < 1:
        parser.error("--deliveries and --limit are at least 1")
    return options


if __name__ == "__main__":
    main()
