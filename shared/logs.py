"""Logs: one JSON line per event, on stderr, with fields and never with personal data."""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import structlog

from shared.trust import advice

# Text of others (exceptions, libraries) may repeat an address or a row, so of an error we print its type and its place.
_OURS = "jobs"
_ours = structlog.stdlib.get_logger(_OURS)


def get() -> Any:
    """Give the logger: ``log.info("completed", job_id=…, queue=…)``."""
    return _ours


def configure(level: str) -> None:
    """Send every log line of this process, libraries' too, to stderr as JSON."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_text_of_errors,
        _with_advice,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.processors.JSONRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # Not to sys.stderr: Dramatiq sends that line by line to its first process, which writes it where we can, too.
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    # No line says them, so no line looks them up (the HOWTO of logging, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.raiseExceptions = False  # where a line cannot be written, Python would print the text of errors instead
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for noisy in ("pika", "dramatiq", "stamina", "psycopg.pool", "apscheduler", "twilio", "opentelemetry"):
        logging.getLogger(noisy).setLevel(max(logging.getLevelName(level), logging.WARNING))
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # reconnects are ours to report
    for actors in ("shared", "services"):  # Dramatiq's loggers of them, which print the arguments of each call
        logging.getLogger(actors).setLevel(max(logging.getLevelName(level), logging.INFO))


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Make JSON of libraries' lines; ours are JSON when they come."""

    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg) if record.name == _OURS else super().format(record)


def _without_text_of_errors(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0]:
        event |= place(info[1], info[2])
    return event


def _with_advice(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Say the way out beside what a library logs of a refused certificate."""
    said = advice(event["event"])
    return event | {"advice": said} if said else event


def place(error: BaseException, trace: TracebackType | None = None) -> dict[str, Any]:
    """Say what an error is and where it came from, without its text; about a refused certificate also what to do."""
    frames = traceback.extract_tb(trace or error.__traceback__)
    where = [f"{'/'.join(f.filename.rsplit('/', 3)[1:])}:{f.lineno} {f.name}" for f in frames]
    said = advice(error)
    return {"error_type": type(error).__name__, "frames": where[-8:]} | ({"advice": said} if said else {})
