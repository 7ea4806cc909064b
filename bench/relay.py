"""A relay in a process of its own that takes every mail and keeps none, so that it costs as little as it can."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.outside.certificate import Certificate

Security = Literal["none", "starttls", "tls"]
HOST = "127.0.0.1"
LOGIN = ("bench", "a-password-of-usual-length")


class Sink:
    """Say yes."""

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802
        """Take a mail and forget it."""
        return "250 2.0.0 Ok: queued as 4BENCH4BENCH"


class Relay:
    """Run the relay while in the context; ``port`` and ``ca_file`` say how to reach it.

    Parameters:
        security: as in the setting ``smtp_security``.
    """

    def __init__(self, security: Security) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.ca_file = Path(self._folder.name) / "ca.pem"
        here, there = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=_serve, args=(security, self._folder.name, there), daemon=True)
        self._pipe = here

    def __enter__(self) -> Self:
        self._process.start()
        self.port: int = self._pipe.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.join()
        self._folder.cleanup()

    def cpu_s(self) -> float:
        """Give the CPU seconds that the relay has used so far."""
        self._pipe.send("cpu")
        return float(self._pipe.recv())


def _serve(security: Security, folder: str, pipe: Connection) -> None:
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # it warns at every login
    asyncio.run(_run(security, Path(folder), pipe))


async def _run(security: Security, folder: Path, pipe: Connection) -> None:
    certificate = Certificate(folder, HOST) if security != "none" else None
    tls = certificate.server_side if certificate else None
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            Sink(),
            hostname="bench.example.com",
            tls_context=tls if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=_authenticate,
            auth_require_tls=security == "starttls",
            loop=loop,
        )

    server = await loop.create_server(connection, HOST, 0, ssl=tls if security == "tls" else None)
    loop.add_reader(pipe.fileno(), _tell_cpu, pipe)
    pipe.send(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


def _tell_cpu(pipe: Connection) -> None:
    pipe.recv()
    pipe.send(time.process_time())


def _authenticate(_server: Any, _session: Any, _envelope: Any, _how: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=(data.login.decode(), data.password.decode()) == LOGIN)
