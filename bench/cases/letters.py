"""Case g: mail to a relay, over one open connection and with a connection per mail; ``bench/mail.py`` measures both."""

from __future__ import annotations

import shutil
from typing import Any

from bench import mail
from bench.frame import Case

NO_RELAY = "there is no Postfix here: apt-get install postfix (as root; it need not be running)"


def sent(count: int, runs: int) -> dict[str, Any]:
    """Give the figures of each transport, both ways, by name."""
    if not shutil.which("postfix", path="/usr/sbin"):
        return {"one open connection": {"skipped": NO_RELAY}}
    transports: Any = mail.run(count, runs)["transports"]
    ways = {}
    for transport, found in transports.items():
        ways[f"{transport}: one open connection"] = found["reuse"] | {"over_new": found["reuse_over_new"]}
        ways[f"{transport}: one connection each"] = found["new"]
    return ways


CASES = [Case("g", "mail to a local Postfix", "mails", 200, [], whole=sent)]
