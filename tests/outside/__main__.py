"""Start the stand-ins: ``python -m tests.outside serve --smtp-port 2525 --http-port 8025 --journal FILE``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from tests.outside.server import Outside


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. A port of 0 takes a free one; the first line printed is JSON and names it."""
    parser = ArgumentParser(prog="python -m tests.outside", description=__doc__)
    serve = parser.add_subparsers(required=True).add_parser("serve", help="run in the foreground until SIGTERM")
    serve.add_argument("--smtp-port", type=int, default=0)
    serve.add_argument("--http-port", type=int, default=0)
    serve.add_argument("--journal", type=Path, required=True, help="JSON lines; an existing file is continued")
    serve.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    Outside(options.journal, host=options.host, smtp_port=options.smtp_port, http_port=options.http_port).run()


if __name__ == "__main__":
    main()
