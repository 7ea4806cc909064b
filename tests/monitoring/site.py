"""A real Prometheus that scrapes a real stack, and what it answers to PromQL."""

from __future__ import annotations

import math
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from rich.console import Console

from deploy.local import stack, state
from deploy.local.demo.__main__ import HASTE, live
from deploy.local.stack import Stack
from shared.messages import CheckInvariants
from shared.publisher import Publisher
from tests.monitoring.programs import RULES, find

EVERY_S = 1
# What Grafana puts in the place of its variables.
GRAFANA = {"$__rate_interval": "20s", "$queue": ".*"}


def targets(running: Stack) -> list[dict[str, Any]]:
    """Name what is scraped: every service, and RabbitMQ as a whole and queue by queue."""
    broker = state.read(running.directory / "rabbitmq")["ports"]["prometheus"]
    families = {"family": ["queue_coarse_metrics", "queue_consumer_count"]}
    services = {name: service.port for name, service in running.services.items() if name != "outside"}
    return [
        *(_job(name, port) for name, port in services.items()),
        _job("rabbitmq", broker),
        _job("rabbitmq-queues", broker) | {"metrics_path": "/metrics/detailed", "params": families},
    ]


def _job(name: str, port: int) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}


class Prometheus:
    """Ask over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._since = time.time()

    def series(self, query: str) -> list[dict[str, Any]]:
        """Give all series of a query from the beginning until now, with their values."""
        for variable, value in GRAFANA.items():
            query = query.replace(variable, value)
        asked = {"query": query, "start": self._since, "end": time.time(), "step": 2}
        answer = requests.get(f"{self._url}/api/v1/query_range", asked, timeout=30)  # type: ignore[arg-type]
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])


@contextmanager
def watching(running: Stack, directory: Path) -> Iterator[Prometheus]:
    """Run a Prometheus on a stack, with our rules."""
    directory.mkdir(parents=True, exist_ok=True)
    often = {"scrape_interval": f"{EVERY_S}s", "evaluation_interval": f"{EVERY_S}s"}
    configuration = {"global": often, "rule_files": [str(RULES)], "scrape_configs": targets(running)}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = state.ports(directory, "http")["http"]
    command = [
        find("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


@contextmanager
def lived(directory: Path) -> Iterator[Prometheus]:
    """Let the demonstration's cards live on a stack of their own, watched, and count the invariants once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JOBS_DATABASE_URL", "JOBS_RABBITMQ_URL"):
            patch.delenv(name, raising=False)
        running = stack.up(directory / "stack", extra_env=HASTE, schedulers=2, durable=False)
    try:
        with watching(running, directory / "prometheus") as prometheus:
            live(running, random.Random(7), Console(quiet=True))
            with Publisher(running.env["JOBS_RABBITMQ_URL"], source="test") as publisher:
                publisher.send(CheckInvariants())
            yield prometheus
    finally:
        stack.delete(directory / "stack")


def figures(series: list[dict[str, Any]]) -> list[float]:
    """Give all values of some series that are numbers."""
    return [float(value) for one in series for _, value in one["values"] if not math.isnan(float(value))]
