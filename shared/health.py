"""One port per process: /livez (are my threads alive?), /readyz (can I reach what I need?), /metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from shared import db, itself, logs
from shared.settings import settings

_server: ThreadingHTTPServer | None = None


class Probe(Protocol):
    """What a process says of itself: each answers the names of what is wrong, empty when well."""

    def dead(self) -> list[str]:
        """Name what only a restart mends."""

    def missing(self) -> list[str]:
        """Name what is away now."""


def database_missing() -> list[str]:
    """Ask PostgreSQL for one row."""
    try:
        with db.transaction() as connection:
            connection.execute("SELECT 1")
    except db.AWAY:
        return ["database"]
    return []


class WorkerProbe:
    """Look at a Dramatiq worker's threads: a dead one leaves the process alive."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def dead(self) -> list[str]:
        """Name the threads that have ended."""
        if db.stopping.is_set():
            return []
        threads = [*self._worker.workers, *self._worker.consumers.values()]
        return [thread.name for thread in threads if not thread.is_alive()]

    def missing(self) -> list[str]:
        """Name the queues without an open consumer, and the database."""
        consumers = {queue: thread.consumer for queue, thread in self._worker.consumers.items()}
        away = [queue for queue, consumer in consumers.items() if consumer is None or not consumer.connected]
        return (["stopping"] if db.stopping.is_set() else []) + away + database_missing()


def serve(probe: Probe) -> int:
    """Answer on the settings' port, or the next free one. Returns the port."""
    global _server
    host, first = settings().http_host, settings().http_port
    for port in range(first, first + 20) if first else [0]:
        try:
            _server = ThreadingHTTPServer((host, port), _handler(probe))
            break
        except OSError:
            continue
    else:
        raise SystemExit(f"no free port from {first} to {first + 19}: set JOBS_HTTP_PORT")
    itself.register()
    threading.Thread(target=_server.serve_forever, name="health", daemon=True).start()
    logs.get().info("listening", host=host, port=_server.server_port)
    return _server.server_port


def stop() -> None:
    """Stop answering."""
    global _server
    if _server is not None:
        _server.shutdown()
        _server.server_close()
        _server = None


def _handler(probe: Probe) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            answers: dict[str, Callable[[], list[str]]] = {"/livez": probe.dead, "/readyz": probe.missing}
            path = self.path.split("?")[0]
            if path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))  # exemplars exist in OpenMetrics only
                self._answer(200, encode(REGISTRY), kind)
            elif path in answers:
                wrong = answers[path]()
                self._answer(503 if wrong else 200, (", ".join(wrong) or "ok").encode() + b"\n", "text/plain")
            else:
                self._answer(404, b"try /livez, /readyz or /metrics\n", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
