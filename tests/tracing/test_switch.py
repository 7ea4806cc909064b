"""Off by default, at no cost; on by OpenTelemetry's own variables, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

import services.delivery.actors  # noqa: F401  # registers the actors
from shared.messages import DeliverGiftCard, ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.kinds import Deliver, Eventually, Issue, JobOf, Sql, StartProcess

TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = f"00-{TRACE}-b7ad6b7169203331-01"
WORK = """
import sys
import services.delivery.actors, services.scheduler.__main__
from shared import logs, tracing
from shared.actor import run
from shared.messages import DeliverGiftCard
from shared.wire import Envelope
logs.configure("INFO")
if "missing" in sys.argv:
    sys.modules["opentelemetry"] = None  # as if it were not installed
tracing.start("test")
run([Envelope(DeliverGiftCard(gift_card_id=sys.argv[1], method="email"))])
print([name for name in sys.modules if name.split(".")[0] == "opentelemetry" and "missing" not in sys.argv])
tracing.stop()
"""


def work(*arguments: object, **env: str) -> tuple[str, str]:
    """Run one job in a process of its own, and give what it said."""
    command = [sys.executable, "-c", WORK, *map(str, arguments)]
    known = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(command, env=known | env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_off_nothing_of_opentelemetry_is_loaded(env: dict[str, str], card: Issue) -> None:
    loaded, _ = work(card(), **env)

    assert loaded == "[]"


def test_off_what_a_job_makes_is_of_its_trace_all_the_same(deliver: Deliver, card: Issue, sql: Sql) -> None:
    deliver(Envelope(DeliverGiftCard(gift_card_id=card(), method="both"), traceparent=GIVEN))

    rows = sql("SELECT name, traceparent FROM jobs ORDER BY name")
    assert [row["name"] for row in rows] == ["deliver_gift_card", "send_gift_card_email", "send_gift_card_sms"]
    assert {row["traceparent"] for row in rows} == {GIVEN}


def test_where_its_packages_are_missing_jobs_run_and_the_log_says_what_to_install(card: Issue, sql: Sql) -> None:
    _, log = work(card(), "missing", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert '"event": "tracing_off"' in log
    assert "install the dependency group `tracing`" in log
    assert [row["state"] for row in sql("SELECT state FROM jobs WHERE name = 'deliver_gift_card'")] == ["succeeded"]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Take what is sent over OTLP, as a collector would."""
    taken: list[ExportTraceServiceRequest] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # its base class calls it so
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Take) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


def test_on_the_scheduler_and_a_worker_send_their_spans_and_lose_none_when_they_end(
    collector: tuple[str, list[ExportTraceServiceRequest]],
    process: StartProcess,
    publisher: Publisher,
    card: Issue,
    sql: Sql,
    job: JobOf,
    eventually: Eventually,
) -> None:
    url, taken = collector
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "",
    }
    job_id = _enqueue(sql, card(expired=True))
    children = [process("scheduler", **env), process("expiry", OTEL_SERVICE_NAME="our-expiry", **env)]
    eventually(lambda: job(job_id)["state"] == "succeeded")

    for child in children:
        child.send_signal(signal.SIGTERM)
        child.wait(60)

    found = {
        (_service(resource), span.name, span.trace_id.hex())
        for request in taken
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert ("giftcard-jobs-scheduler", "publish gift-card-expiry", TRACE) in found
    assert ("our-expiry", "process gift-card-expiry", TRACE) in found
    assert {service for service, name, _ in found if name in ("INSERT", "UPDATE", "WITH", "SELECT")} == {"our-expiry"}


def _enqueue(sql: Sql, card_id: UUID) -> UUID:
    data = ExpireGiftCard(gift_card_id=card_id).model_dump_json(exclude_none=True)
    (row,) = sql("SELECT enqueue_job('expire_gift_card', %s::jsonb, traceparent => %s) AS id", data, GIVEN)
    return UUID(str(row["id"]))


def _service(sent: ResourceSpans) -> str:
    return next(str(one.value.string_value) for one in sent.resource.attributes if one.key == "service.name")
