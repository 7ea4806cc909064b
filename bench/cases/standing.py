"""Cases i and j: the memory of every service, idle and at work, and what an idle hour costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet

from bench import ours
from bench.cost import watched
from bench.frame import Case, Sample, Unmeasured, Way
from bench.lab import SETTINGS, Lab
from deploy.local import processes, stack
from deploy.local.stack import Stack

SETTLE_S, LOOK_S = 3, 2
# As in production, but for the rates, which would only make the load longer.
ENV = {name: value for name, value in SETTINGS.items() if "RATE_PER_S" in name} | {"JOBS_SMS_QUIET_HOURS": ""}

CARDS = """
INSERT INTO gift_cards (currency, balance, code_encrypted, code_last4, expires_on, recipient_email, recipient_phone)
SELECT 'EUR', 0, %s, 'WXYZ', current_date + 100, 'ada@example.com', '+14155550123' FROM generate_series(1, %s)
"""
WORK = """
SELECT enqueue_job(name, jsonb_build_object('gift_card_id', id) || extra) FROM gift_cards, (VALUES
    ('expire_gift_card', '{}'::jsonb), ('send_gift_card_email', '{}'), ('deliver_gift_card', '{"method": "email"}')
) AS kinds (name, extra)
"""
OPEN = """
SELECT count(*) FROM jobs WHERE state IN ('scheduled', 'queued', 'running') AND run_at < now() + interval '1 minute'
"""


def memory(lab: Lab, count: int) -> Sample:
    """Look at each service idle, then while it works off so many jobs of three kinds."""
    with _standing(lab) as (standing, pids):
        with watched(pids) as idle:
            time.sleep(LOOK_S)
        with watched(pids) as loaded, psycopg.connect(standing.env["JOBS_DATABASE_URL"], autocommit=True) as connection:
            code = Fernet(_key(standing)).encrypt(b"GIFT-7Q4X-9WXYZ").decode()
            connection.execute(CARDS, (code, count))
            connection.execute(WORK)
            if not lab.until(lambda: connection.execute(OPEN).fetchone() == (0,), every_s=0.5):
                raise Unmeasured("the load was not worked off in time")
        resting = {f"{role}.idle_mb": used.largest_mb for role, used in idle.items()}
        return Sample(0, 0, cost=loaded, more=resting)


def idle_hour(lab: Lab, seconds: int) -> Sample:
    """Count statements and CPU for some seconds in which nothing is asked for, and multiply."""
    with _standing(lab) as (standing, pids):
        log = standing.directory / "postgres" / "postgres.log"
        with psycopg.connect(standing.env["JOBS_DATABASE_URL"], autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
            connection.execute("SELECT pg_reload_conf()")
            time.sleep(1)
            before = _statements(log)
            with watched(pids) as used:
                time.sleep(seconds)
            queries = _statements(log) - before
        hours = 3600 / seconds
        more = {f"{role}.cpu_s_an_hour": hours * usage.cpu_s for role, usage in used.items()}
        total = sum(more.values())
        return Sample(0, 0, cost=used, more={"queries_an_hour": hours * queries, "cpu_s_an_hour": total, **more})


@contextmanager
def _standing(lab: Lab) -> Iterator[tuple[Stack, dict[str, int]]]:
    """Lend a whole stack, and its processes by role."""
    directory = lab.directory / "stack"
    try:
        standing = stack.up(directory, extra_env=ENV, fresh=True)
        pids = {name: service.pid for name, service in standing.services.items() if name != "outside"}
        for server in ("postgres", "rabbitmq"):
            if process := processes.recorded(directory / server / "pid.json"):
                pids[server] = process.pid
        time.sleep(SETTLE_S)
        yield standing, pids
    finally:
        stack.delete(directory)


def _key(standing: Stack) -> str:
    return str(standing.env["JOBS_CODE_KEYS"]).strip('[]"')


def _statements(log: Path) -> int:
    """Count what PostgreSQL executed; parse and bind of the same statement have lines of their own."""
    with log.open(errors="replace") as lines:
        return sum(" ms  statement:" in line or " ms  execute" in line for line in lines)


CASES = [
    Case(
        "i",
        "memory of each process, idle and working off jobs of three kinds",
        "cards",
        2_000,
        [Way(ours.NAME, memory)],
    ),
    Case(
        "j",
        "an idle hour, extrapolated from so many seconds",
        "seconds",
        60,
        [Way(ours.NAME, idle_hour)],
        least=5,
    ),
]
