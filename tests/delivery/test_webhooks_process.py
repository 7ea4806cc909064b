"""The webhooks as their own process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import requests

from tests.delivery.hooks import PHONE, POSTMARK, Hooks, sent, standing, values
from tests.kinds import Issue, Setting, Sql

CANARY = "canary.person@example.com"


def test_the_process_serves_logs_json_and_ends_in_time(database: str, setting: Setting, card: Issue, sql: Sql) -> None:
    setting(**values())
    delivery_id = sent(sql, card(), "sms", provider_id="SM1")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, health = one.getsockname()[1], other.getsockname()[1]
    env = os.environ | {"JOBS_WEBHOOK_PORT": str(port), "JOBS_HTTP_PORT": str(health)}
    command = [sys.executable, "-W", "error", "-m", "services.delivery.webhooks"]
    child = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        _wait_for(f"http://127.0.0.1:{health}/readyz", child)
        running = Hooks(f"http://127.0.0.1:{port}", [])
        _wait_for(f"{running.url}/", child, 404)
        stranger = running.post("/twilio/inbound", {"Body": CANARY})
        answer = running.status(delivery_id, "delivered", To=PHONE)
        metrics = requests.get(f"http://127.0.0.1:{health}/metrics", timeout=10).text
        alive = requests.get(f"http://127.0.0.1:{health}/livez", timeout=10).status_code
    finally:
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=30)

    assert (stranger.status_code, answer.status_code, alive, child.returncode) == (403, 200, 200, 0)
    assert standing(sql, delivery_id)[0] == "delivered"
    assert 'provider_reports_total{kind="delivered",outcome="applied",provider="twilio"} 1.0' in metrics
    lines = [json.loads(line) for line in said.splitlines()]
    assert {line["event"] for line in lines} >= {"webhook_refused", "report", "webhooks_stopped"}
    assert not any(secret in said for secret in (CANARY, PHONE, POSTMARK, "/twilio/status/"))


def _wait_for(url: str, child: subprocess.Popen[str], status: int = 200) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()[1]
        try:
            if requests.get(url, timeout=5).status_code == status:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not come up")
