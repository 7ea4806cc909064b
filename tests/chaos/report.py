"""The report of a run: figures, invariants, and whether it holds what is promised."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.local import management
from shared.invariants import violations
from tests.chaos import canaries, verdict
from tests.chaos.run import Course, Plan
from tests.chaos.shop import Front
from tests.chaos.site import RATES, Site

FROM_JOURNALS = {
    "I6": "no text accepted twice, no mail but as its one counted resend",
    "I7": "what was accepted is in the rows, and what the rows say was accepted",
    "I8": "nothing asked for is lost",
    "I9": "nothing to a replaced recipient, or after a cancel",
    "I10": "nothing before its time",
    "I11": "no job of a card left open",
    "I13": "no live token deleted",
    "I15": "no canary in logs, queues, rows, metrics",
    "I17": "no more sends a second than the limit and a twentieth",
}


def report(site: Site, plan: Plan, front: Front, course: Course, took_s: float) -> dict[str, Any]:
    """Give all figures of a run that has ended, while its servers still run."""
    with site.connect() as connection:
        seen = verdict.gather(connection, site.journal)
        rates = {queue.partition("-")[0]: float(rate) for queue, rate in RATES.items()}
        channels = verdict.judge(seen, rates)
        for song in canaries.singing(site, connection):
            seen.wrong("I15", song)
        for token in _lost_tokens(connection):
            seen.wrong("I13", token)
        rows = violations(connection)
        delays = verdict.delays(seen)
        expired = connection.execute("SELECT count(*) FROM transactions WHERE type = 'EXPIRY'").fetchone()
    found = {
        "seed": plan.seed,
        "plan": asdict(plan),
        "versions": _versions(site),
        "took_s": round(took_s),
        "acts": dict(front.acts),
        "shop": front.failure,
        "channels": channels,
        "expired": (expired or {})["count"],
        "due to accepted": delays,
        "burst": {
            "cards": plan.burst,
            "drained_s": course.drained_s,
            "jobs_per_s": round(course.drained_jobs / max(course.drained_s, 1), 1),
        },
        "nemeses": [
            *course.nemeses,
            {"name": "worker asleep", "hits": course.asleep, "shot_s": plan.asleep_s, "recovered_s": None},
            {"name": "clock an hour off", "hits": course.skewed_lines, "shot_s": None, "recovered_s": None},
        ],
        "quiesced_s": course.quiesced_s,
        "invariants": rows | {f"{i} {says} (journals)": len(seen.found[i]) for i, says in FROM_JOURNALS.items()},
        "examples": {name: what[:10] for name, what in seen.found.items() if what},
        "control": verdict.control(front.control.asked, site.journal),
    }
    return found | {"failed": failures(found)}


def failures(found: dict[str, Any]) -> list[str]:
    """Say in words what was not as promised, and what was too weak to prove it."""
    said = [f"invariant: {name}: {count}" for name, count in found["invariants"].items() if count]
    said += [f"nemesis without a hit: {n['name']}" for n in found["nemeses"] if not n["hits"]]
    said += [
        f"not recovered in time: {n['name']}" for n in found["nemeses"] if n["recovered_s"] is None and "mended" in n
    ]
    if found["shop"]:
        said.append(f"the shop itself failed: {found['shop']}")
    if found["quiesced_s"] is None:
        said.append("not quiet in time")
    for channel, figures in found["channels"].items():
        said += [f"{channel}: {figures[word]} {word}" for word in ("lost", "duplicates") if figures[word]]
    if not found["control"]["lost"] + found["control"]["doubled"]:
        said.append("the control lost and doubled nothing: this run was too weak")
    return said


def write(directory: Path, found: dict[str, Any]) -> Path:
    """Write the report, for people and for the next run of the same seed."""
    text = json.dumps(found, indent=2, default=str) + "\n"
    (directory / str(found["seed"]) / "report.json").write_text(text)
    (directory / "report.json").write_text(text)
    return directory / "report.json"


def _lost_tokens(connection: Any) -> list[str]:
    query = "SELECT id FROM chaos.tokens WHERE id NOT IN (SELECT id FROM refresh_tokens)"
    return [str(row["id"]) for row in connection.execute(query)]


def _versions(site: Site) -> dict[str, str]:
    with site.connect() as connection:
        server = connection.info.server_version
    broker = management.call(site.api, "GET", "overview")["rabbitmq_version"]
    packages = {name: version(name) for name in ("dramatiq", "pika", "psycopg", "twilio", "requests")}
    return {"python": platform.python_version(), "postgresql": str(server), "rabbitmq": broker, **packages}
