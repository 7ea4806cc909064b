"""Run the stand-ins on one event loop: in a thread for tests, in the foreground as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import tempfile
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.outside.behaviour import Behaviour, Behaviours
from tests.outside.callbacks import AUTH_TOKEN, Callbacks
from tests.outside.certificate import Authority, Certificate
from tests.outside.journal import Entry, Journal
from tests.outside.page import Inbox
from tests.outside.smtp import Mailbox
from tests.outside.twilio import ACCOUNT_SID, API_KEY, API_SECRET, FROM_NUMBER, Messages


class Outside:
    """Be the outside world: SMTP on one port, Twilio and the inbox page on another.

    Parameters:
        journal: where accepted messages are kept; None: a temporary file.
        smtp_port, http_port: 0 takes a free one; read the attributes of the same name once started.
        smtp_security: none, starttls or tls. What vouches for it is `ca_file`; OpenSSL trusts it by SSL_CERT_FILE.
        certificate: to show then; None: one of its own for the host.
        login: user and password that the SMTP server asks for.
        utf8: whether the SMTP server offers SMTPUTF8.
        pipelining: whether it offers PIPELINING.
    """

    def __init__(
        self,
        journal: Path | None = None,
        *,
        host: str = "127.0.0.1",
        smtp_port: int = 0,
        http_port: int = 0,
        smtp_security: str = "none",
        certificate: Certificate | None = None,
        login: tuple[str, str] | None = None,
        utf8: bool = True,
        pipelining: bool = True,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="outside-")
        folder = Path(self._folder.name)
        self.journal = Journal(journal or folder / "journal.jsonl")
        self.behaviours = Behaviours()
        self.callbacks = Callbacks()
        self.host, self.smtp_port, self.http_port = host, smtp_port, http_port
        self.smtp_security = smtp_security
        self._authority = Authority(folder) if smtp_security != "none" else None
        self._certificate = certificate or (self._authority and self._authority.issue(host))
        starttls = self._server_side("starttls")
        self.mailbox = Mailbox(self.journal, self.behaviours, login, utf8, pipelining, starttls)
        self._ready: Future[None] = Future()

    @property
    def http_url(self) -> str:
        """Give the address of the inbox page and of Twilio."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def ca_file(self) -> Path:
        """Give the certificate to trust. Raises LookupError when the server has none."""
        if self._authority is None:
            raise LookupError("this stand-in speaks no TLS: start it with smtp_security starttls or tls")
        return self._authority.file

    def settings(self) -> dict[str, Any]:
        """Give the fields of `shared.settings.Settings` that point at this stand-in."""
        return {
            "smtp_host": self.host,
            "smtp_port": self.smtp_port,
            "smtp_security": self.smtp_security,
            "twilio_base_url": self.http_url,
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_api_key": API_KEY,
            "twilio_api_secret": API_SECRET,
            "twilio_auth_token": AUTH_TOKEN,
            "twilio_from": FROM_NUMBER,
        }

    def behave(self, channel: Any, do: Any, **how: Any) -> None:
        """Misbehave from now on; see `Behaviour` for the words."""
        self.behaviours.add(Behaviour(channel, do, **how))

    def report(self, sms: Entry, status: str, error_code: int | None = None) -> int:
        """Post a status of an accepted SMS to its StatusCallback, as Twilio does, and give the answer's HTTP status."""
        reporting = self.callbacks.report(sms, status, error_code)
        return asyncio.run_coroutine_threadsafe(reporting, self._loop).result(timeout=20)

    def messages(self, channel: str | None = None, to: str | None = None) -> list[Entry]:
        """Give what was accepted, raw text included."""
        return [self.journal.whole(entry["n"]) for entry in self.journal.entries(channel, to)]

    def drop_connections(self) -> None:
        """Cut all SMTP connections, as a server that restarts does."""

        async def drop() -> None:
            self.mailbox.drop()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(timeout=10)

    async def serve(self) -> None:
        """Serve until `stop` is called or the process gets SIGTERM or SIGINT."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            await self._serve_smtp(stack)
            await self._serve_http(stack)
            self._ready.set_result(None)
            await self._stopping.wait()

    def _server_side(self, security: str) -> ssl.SSLContext | None:
        return self._certificate.server_side() if self._certificate and self.smtp_security == security else None

    async def _serve_smtp(self, stack: AsyncExitStack) -> None:
        tls = self._server_side("tls")
        smtp = await self._loop.create_server(self.mailbox.connection, self.host, self.smtp_port, ssl=tls)
        stack.callback(self.mailbox.drop)
        stack.callback(smtp.close)
        self.smtp_port = smtp.sockets[0].getsockname()[1]

    async def _serve_http(self, stack: AsyncExitStack) -> None:
        app = web.Application()
        app.add_routes(Messages(self.journal, self.behaviours, self._stopping, self.callbacks.accepted).routes())
        app.add_routes(self.callbacks.routes())
        app.add_routes(Inbox(self.journal, self.behaviours).routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self.host, self.http_port).start()
        self.http_port = runner.addresses[0][1]

    def run(self) -> None:
        """Serve in the foreground, after one JSON line with the ports on standard output."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(name, lambda: self._stopping.set())
            self._ready.add_done_callback(lambda _: self._announce())
            await self.serve()

        asyncio.run(main())
        self._close()

    def _announce(self) -> None:
        json.dump({"smtp_port": self.smtp_port, "http_port": self.http_port, "inbox": self.http_url}, sys.stdout)
        print(flush=True)

    def start(self) -> Self:
        """Serve in a thread; return when both ports listen. Raises OSError when one is taken."""

        async def main() -> None:
            try:
                await self.serve()
            except BaseException as error:
                if self._ready.done():
                    raise
                self._ready.set_exception(error)

        self._thread = Thread(target=asyncio.run, args=(main(),), name="outside", daemon=True)
        self._thread.start()
        try:
            self._ready.result(timeout=20)
        except OSError:
            self._close()
            raise
        return self

    def stop(self) -> None:
        """Cut what is open, end the thread and forget the temporary files."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=20)
        self._close()

    def _close(self) -> None:
        self.journal.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
