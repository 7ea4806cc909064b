"""An SMTP server that keeps what it accepts and misbehaves on request."""

from __future__ import annotations

import asyncio
import ssl
from email import policy
from email.parser import BytesHeaderParser
from typing import Any, NoReturn
from uuid import uuid4

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

from tests.outside.behaviour import Behaviour, Behaviours, Phase
from tests.outside.journal import Journal

KEPT_HEADERS = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Content-Type",
)
# Local parts that a demo can use as bad addresses: reply, and whether only the first try meets it.
BAD_LOCAL_PARTS = {
    "bounce-550": ("550 5.1.1 No such mailbox here", False),
    "full-452": ("452 4.2.2 Mailbox full", False),
    "greylist-450": ("450 4.2.0 Greylisted, come back later", True),
}


class Connection(SMTP):
    """Serve one client; aiosmtpd's own class, plus the phases it has no hook for."""

    async def _handle_client(self) -> None:
        await self.event_handler.greet(self)
        await super()._handle_client()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.event_handler.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.open.discard(self)
        super().connection_lost(error)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        assert self.envelope is not None
        rule = self.event_handler.behaviours.pick("email", "data", "".join(self.envelope.rcpt_tos[:1]))
        if rule:
            await self.push(await self.event_handler.misbehave(self, rule))
        else:
            await super().smtp_DATA(arg)


class Mailbox:
    """Answer the commands of every connection.

    Parameters:
        login: user and password that MAIL asks for; None: anybody may send.
        utf8: offer SMTPUTF8 (RFC 6531).
        pipelining: offer PIPELINING (RFC 2920).
    """

    def __init__(
        self,
        journal: Journal,
        behaviours: Behaviours,
        login: tuple[str, str] | None = None,
        utf8: bool = True,
        pipelining: bool = True,
        starttls: ssl.SSLContext | None = None,
    ) -> None:
        self.journal = journal
        self.behaviours = behaviours
        self.login = login
        self.utf8 = utf8
        self.pipelining = pipelining
        self.starttls = starttls
        self.open: set[Connection] = set()
        self.connections = 0
        self._tried: set[str] = set()

    def connection(self) -> Connection:
        """Make the protocol object of one new connection."""
        return Connection(
            self,
            hostname="outside.example.com",
            ident="ESMTP stand-in",
            enable_SMTPUTF8=self.utf8,
            tls_context=self.starttls,
            require_starttls=self.starttls is not None,
            authenticator=self._authenticate,
            # Implicit TLS is invisible to aiosmtpd, so it would never offer AUTH on it.
            auth_require_tls=self.starttls is not None,
            loop=asyncio.get_running_loop(),
        )

    def drop(self) -> None:
        """Cut all connections, as a server that restarts does."""
        for connection in list(self.open):
            if connection.transport:
                connection.transport.abort()  # type: ignore[attr-defined]

    async def greet(self, server: Connection) -> None:
        """Count a connection, or misbehave before its greeting."""
        self.connections += 1
        if rule := self.behaviours.pick("email", "connect"):
            await server.push(await self.misbehave(server, rule))
            if server.transport:
                server.transport.close()
            raise asyncio.CancelledError

    async def handle_EHLO(  # noqa: N802
        self, _server: Connection, session: Session, _envelope: Envelope, name: str, offers: list[str]
    ) -> list[str]:
        """Say what is offered; aiosmtpd takes commands in advance, and never says so."""
        session.host_name = name
        return [*offers[:-1], *(["250-PIPELINING"] if self.pipelining else []), offers[-1]]

    async def misbehave(self, server: Connection, rule: Behaviour) -> str:
        """Do what a rule says; a reply comes back only if there is one to give."""
        if rule.do == "hang":
            await asyncio.Event().wait()
        if rule.do == "cut":
            self._cut(server)
        return f"{rule.code} {rule.text}" if rule.do == "refuse" else "250 2.0.0 Ok: queued as lie"

    def _cut(self, server: Connection) -> NoReturn:
        if server.transport:
            server.transport.abort()  # type: ignore[attr-defined]
        # aiosmtpd answers every other exception with a 500.
        raise asyncio.CancelledError

    async def _ruled(self, server: Connection, phase: Phase, to: str | None = None) -> str | None:
        rule = self.behaviours.pick("email", phase, to)
        return await self.misbehave(server, rule) if rule else None

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else None
        return AuthResult(success=self.login is not None and given == self.login, handled=False)

    async def handle_MAIL(  # noqa: N802
        self, server: Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if refusal := await self._ruled(server, "mail"):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := await self._ruled(server, "rcpt", address):
            return refusal
        reply, first_only = BAD_LOCAL_PARTS.get(address.partition("@")[0].partition("+")[0], ("", False))
        if reply and not (first_only and address in self._tried):
            self._tried.add(address)
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Connection, session: Session, envelope: Envelope) -> str:  # noqa: N802
        to = envelope.rcpt_tos[0]
        rule = self.behaviours.pick("email", "dot", to)
        reply = await asyncio.to_thread(self._accept, envelope) if rule is None or rule.accept else ""
        return await self.misbehave(server, rule) if rule else reply

    def _accept(self, envelope: Envelope) -> str:
        raw: bytes = envelope.original_content or b""
        message = BytesHeaderParser(policy=policy.default).parsebytes(raw)
        headers = {name: str(value) for name in KEPT_HEADERS if (value := message[name])}
        queue_id = uuid4().hex[:10].upper()
        for to in envelope.rcpt_tos:
            self.journal.accept(
                "email",
                message_id=headers.get("Message-ID"),
                to=to,
                sender=envelope.mail_from,
                subject=headers.get("Subject"),
                headers=headers,
                options=envelope.mail_options,
                queue_id=queue_id,
                raw=raw.decode("utf-8", "surrogateescape"),
            )
        return f"250 2.0.0 Ok: queued as {queue_id}"
