"""A service that does nothing but say that it is ready: ``python -m tests.local.ready``."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # http.server's name
        self.send_response(200)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ["JOBS_HTTP_PORT"])), _Ready).serve_forever()
