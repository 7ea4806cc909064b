"""Compose's Prometheus scrapes all that runs, has every rule, and tells Alertmanager what fires."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from functools import partial
from typing import Any

import pytest
import requests
import yaml

from deploy.local import compose
from deploy.local.stack import Stack
from tests.docker.images import DOCKER, docker
from tests.docker.rolling import containers
from tests.kinds import Eventually
from tests.monitoring.programs import RULES

WATCHERS = ("prometheus", "alertmanager")
PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:29090/api/v1", "http://127.0.0.1:29093/api/v2"
# By its labels a target is a service; the broker is scraped as a whole and queue by queue.
JOBS = {"console-web": ["console"], "rabbitmq": ["rabbitmq", "rabbitmq-queues"], "postgres": [], "outside": []}


@pytest.fixture(autouse=True, scope="module")
def watched(stack: Stack) -> None:
    """Start the profile beside what runs; no registry may be within reach, so a missing image is a reason to skip."""
    services = json.loads(compose.run("--profile", "observability", "config", "--format", "json"))["services"]
    for image in (services[name]["image"] for name in WATCHERS):
        here = subprocess.run([DOCKER, "image", "inspect", image], capture_output=True, check=False)
        if here.returncode and subprocess.run([DOCKER, "pull", image], capture_output=True, check=False).returncode:
            pytest.skip(f"NOT CHECKED HERE: the image {image} is neither here nor to be had")
    compose.run("--profile", "observability", "up", "--wait", "--no-deps", "--no-recreate", *WATCHERS)


def asked(url: str) -> Any:
    answer = requests.get(url, timeout=10)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.timeout(180)
def test_every_container_is_scraped(eventually: Eventually) -> None:
    running = [service for service, _ in containers() if service not in WATCHERS]
    meant = Counter(job for service in running for job in JOBS.get(service, [service]))

    def up() -> Counter[str]:
        targets = asked(f"{PROMETHEUS}/targets?state=active")["data"]["activeTargets"]
        return Counter(target["labels"]["job"] for target in targets if target["health"] == "up")

    eventually(lambda: up() == meant)
    assert meant["scheduler"] == 2


@pytest.mark.timeout(180)
def test_every_rule_is_loaded_and_works(eventually: Eventually) -> None:
    meant = [
        rule.get("alert", rule.get("record"))
        for g in yaml.safe_load(RULES.read_text())["groups"]
        for rule in g["rules"]
    ]

    def well() -> list[str]:
        groups = asked(f"{PROMETHEUS}/rules")["data"]["groups"]
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"]

    eventually(lambda: sorted(well()) == sorted(meant))


@pytest.mark.timeout(300)
def test_what_fires_is_told_to_alertmanager(eventually: Eventually) -> None:
    [cleanup] = [container for service, container in containers() if service == "cleanup"]
    starts = f'{PROMETHEUS}/query?query=changes(process_start_time_seconds{{job="cleanup"}}[30m])'

    def seen(times: int) -> bool:
        return sum(int(one["value"][1]) for one in asked(starts)["data"]["result"]) >= times

    for times in (1, 2, 3):  # one more than ServiceRestarts allows
        docker("restart", cleanup)
        eventually(partial(seen, times))

    eventually(lambda: ("ServiceRestarts", "cleanup") in told(), within_s=120)


def told() -> set[tuple[str, str]]:
    labels = [alert["labels"] for alert in asked(f"{ALERTMANAGER}/alerts")]
    return {(label["alertname"], label.get("job", "")) for label in labels}
