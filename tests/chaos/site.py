"""Where the chaos happens: servers of its own, lines to them that can be cut, and every service as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import requests
from psycopg.rows import dict_row
from sqlalchemy import make_url

from deploy.local import database, environment, management, postgres, rabbitmq, services, stack, state, supervision
from deploy.local.supervision import Program
from shared.messages import QUEUES
from tests.chaos import clock, proxy

LINES = ("database", "rabbitmq", "smtp", "twilio")
LEASE_S = 5
RATES = {"email-delivery": 100, "sms-delivery": 50}
SKEWED = "scheduler-2"
SLEEPER = "delivery-3"  # stands still for long while all else happens
MODULES = {
    "scheduler-1": "services.scheduler",
    "scheduler-2": "services.scheduler",
    "webhooks": "services.delivery.webhooks",
    "expiry": "services.expiry.actors",
    "delivery-1": "services.delivery.actors",
    "delivery-2": "services.delivery.actors",
    "delivery-3": "services.delivery.actors",
    "cleanup": "services.cleanup.actors",
    "control": "tests.chaos.control.actors",
}
WORKERS = ("expiry", "delivery-1", "delivery-2", "cleanup")
SCHEDULERS = ("scheduler-1", "scheduler-2")

# Waits that are minutes in production are seconds here, and nothing is pruned before it is counted.
HASTE = {
    "JOBS_LEASE_S": str(LEASE_S),
    "JOBS_SILENT_S": "6",
    "JOBS_SETTLE_S": "8",  # a line holds what it took for 5 s: who asks sooner does not hear of what then arrives
    "JOBS_MAX_STALLS": "20",
    "JOBS_BACKOFF_S": json.dumps(
        {name: [1, 2, 4] + [5] * 17 for name in ("send_gift_card_email", "send_gift_card_sms")}
        | {name: [1, 2, 4] + [5] * 17 for name in ("deliver_gift_card", "send_expiry_reminder", "expire_gift_card")}
    ),
    "JOBS_UNKNOWN_CARD_GRACE_S": "10",
    "JOBS_UNKNOWN_MESSAGE_GRACE_S": "10",
    "JOBS_SMS_QUIET_HOURS": "",
    "JOBS_SMTP_TIMEOUT_S": "5",
    "JOBS_TWILIO_TIMEOUT_S": "2",
    "JOBS_BRAKE_CARDS": "1000000",
    "JOBS_KEEP_COMPLETED_COUNT": "10000000",
    "JOBS_TIMETABLE__EXPIRE_DUE_GIFT_CARDS__MISSED": "all",
    **{f"JOBS_QUEUES__{q.replace('-', '_').upper()}__RATE_PER_S": str(RATES.get(q, "")) for q in QUEUES},
}


@dataclass
class Site:
    """A running system and its surroundings.

    Parameters:
        database_url, amqp_url, api: the servers themselves, without a line in between.
        env: what the services get; their URLs lead through the lines.
        orders: the port of the lines' process.
    """

    directory: Path
    database_url: str
    amqp_url: str
    api: str
    outside: str
    env: dict[str, str]
    programs: list[Program]
    orders: int

    @property
    def journal(self) -> Path:
        """Give the file with everything that the outside world accepted."""
        return self.directory / "outside.jsonl"

    @property
    def control_url(self) -> str:
        """Give the AMQP URL of the control's virtual host, without a line in between."""
        return self.amqp_url.rpartition("/")[0] + "/control"

    def order(self, line: str, do: str) -> dict[str, int]:
        """Do something to a line, and give its counts."""
        return proxy.order(self.orders, line, do)

    def pid(self, name: str) -> int:
        """Give the process group of a service, 0 while it has none."""
        return supervision.states(self.directory).get(name, ("", 0))[1]

    def signal(self, name: str, what: signal.Signals) -> int:
        """Send a signal to a service with all its processes, and give its process group; 0: there was none."""
        pid = self.pid(name)
        with suppress(ProcessLookupError):
            if pid:
                os.killpg(pid, what)
        return pid

    def connect(self, **options: Any) -> psycopg.Connection[dict[str, Any]]:
        """Open a connection to PostgreSQL itself, again and again until it is there."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(
                    self.database_url, autocommit=True, row_factory=dict_row, connect_timeout=5, **options
                )
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def misbehave(self, **rule: object) -> None:
        """Make the outside world misbehave (tests/outside/behaviour.py)."""
        requests.post(f"{self.outside}/behaviour", data=json.dumps(rule), timeout=10).raise_for_status()

    def misbehaved(self) -> int:
        """Give how many requests have met a rule."""
        rules = requests.get(f"{self.outside}/behaviour", timeout=10).json()
        return sum(rule["matched"] // rule["every"] for rule in rules)

    def behave_well(self) -> int:
        """Let the outside world behave again, and give how many requests met a rule."""
        hits = self.misbehaved()
        requests.delete(f"{self.outside}/behaviour", timeout=10)
        return hits


@contextmanager
def running(directory: Path, report: Callable[[str], None]) -> Iterator[Site]:
    """Lend a new system in a directory; its data and logs stay, its processes end."""
    directory = directory.resolve()
    stack.delete(directory)
    directory.mkdir(parents=True)
    lines: subprocess.Popen[bytes] | None = None
    try:
        site, ways = _prepare(directory)
        report("PostgreSQL and RabbitMQ run")
        lines = subprocess.Popen([sys.executable, "-m", "tests.chaos.proxy", json.dumps(ways), str(site.orders)])
        supervision.start(directory, site.programs, site.env)
        services.wait(directory, [p for p in site.programs if p.port], report, patience_s=180)
        yield site
    finally:
        for name in MODULES:
            with suppress(OSError, UnboundLocalError):
                site.signal(name, signal.SIGCONT)
        stack.down(directory)
        if lines:
            lines.kill()
            lines.wait()


def _prepare(directory: Path) -> tuple[Site, dict[str, list[int]]]:
    server = postgres.start(directory / "postgres")
    url = database.create(server, stack.DATABASE)
    database.migrate(url)
    amqp, api = rabbitmq.start(directory / "rabbitmq"), rabbitmq.management_url(directory / "rabbitmq", password=True)
    lines = [f"line-{line}" for line in LINES]
    ports = state.ports(directory, "smtp", "outside", "reports", "pages", "orders", *lines, *MODULES)
    targets = (make_url(url).port, make_url(amqp).port, ports["smtp"], ports["outside"])
    ways = {line: [ports[f"line-{line}"], target or 0] for line, target in zip(LINES, targets, strict=True)}
    management.call(api, "PUT", "vhosts/control")
    env = environment.variables(directory, ports) | HASTE
    env |= {
        "JOBS_DATABASE_URL": _through(url, ways["database"][0]),
        "JOBS_RABBITMQ_URL": _through(amqp, ways["rabbitmq"][0]),
        "JOBS_SMTP_PORT": str(ways["smtp"][0]),
        "JOBS_TWILIO_BASE_URL": f"http://127.0.0.1:{ways['twilio'][0]}",
    }
    programs = [_program(directory, name, ports) for name in ("outside", *MODULES)]
    site = Site(directory, url, amqp, api, f"http://127.0.0.1:{ports['outside']}", env, programs, ports["orders"])
    return site, ways


def _through(url: str, port: int) -> str:
    host, _, rest = url.rpartition("@")
    return f"{host}@127.0.0.1:{port}/{rest.partition('/')[2]}"


def _program(directory: Path, name: str, ports: dict[str, int]) -> Program:
    module, port = MODULES.get(name, ""), ports[name]
    command: tuple[str, ...] = (sys.executable, "-m", module)
    if name == "outside":
        journal = str(directory / "outside.jsonl")
        options = ("--smtp-port", str(ports["smtp"]), "--http-port", str(port), "--journal", journal)
        command = (sys.executable, "-m", "tests.outside", "serve", *options)
    elif module.endswith(".actors"):
        grace = ("--worker-shutdown-timeout", "5000")
        command = (sys.executable, "-m", "dramatiq", module, "--processes", "1", *grace)
    if name == "control":
        command, port = (*command, "--threads", "4"), 0
    if name == SKEWED:
        command = (*clock.an_hour_ahead(), *command)
    return Program(name, command, port, directory / "logs" / f"{name}.log")
