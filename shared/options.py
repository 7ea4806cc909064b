"""What the settings are made of: a queue, a cron line, a relay, a URL, and how each is read from a variable."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from shared.messages import MESSAGES, QUEUES

QuietHours = Annotated[str, Field(pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")]


NoneIfEmpty = BeforeValidator(lambda given: None if given == "" else given)


def _amqp(given: SecretStr) -> SecretStr:
    """Refuse what pika would refuse with parts of the password in its words."""
    try:
        parts = urlsplit(given.get_secret_value())
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise ValueError(
            "not of the form amqp://user:password@host:5672/vhost (or amqps); write :/?#@% in a password as %3A, %2F, …"
        )
    return given


def _postgresql(given: SecretStr) -> SecretStr:
    """Refuse what libpq would refuse with parts of the password in its words."""
    try:
        parts = conninfo_to_dict(given.get_secret_value())
        ports = str(parts.get("port", "")).split(",")
    except psycopg.Error:
        ports = ["none"]
    if not given.get_secret_value() or not all(port.isdigit() or not port for port in ports):
        raise ValueError(
            "not of the form postgresql://user:password@host:5432/name; write :/?#@% in a password as %3A, %2F, …"
        )
    return given


def _argon2(given: SecretStr) -> SecretStr:
    if not given.get_secret_value().startswith("$argon2id$"):
        raise ValueError("not an argon2id hash: make one with 'python -m services.console.cli password'")
    return given


def _provider_url(given: str) -> str:
    """Refuse what would send a secret over a net in the clear."""
    parts = urlsplit(given)
    here = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or not (here or parts.scheme == "https") or parts.query or parts.fragment:
        raise ValueError("not of the form https://login.example.com/realm (http only for 127.0.0.1 and localhost)")
    return given


def _with_openid(given: str) -> str:
    if "openid" not in given.split():
        raise ValueError("without openid the provider says nothing of who signs in: add it")
    return given


def _own_url(given: str) -> str:
    """Refuse what would send the console's cookies over a net in the clear."""
    parts = urlsplit(given)
    here = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or not (here or parts.scheme == "https") or parts.path.strip("/") or parts.query:
        raise ValueError("not of the form https://console.example.com (http only for 127.0.0.1 and localhost)")
    return given.rstrip("/")


LOOPBACK = ("127.0.0.1", "localhost", "::1")
OwnUrl = Annotated[str, AfterValidator(_own_url)]
# As it is kept in audit rows and messages.
LoginName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.:-]{0,63}$")]
AmqpUrl = Annotated[SecretStr, AfterValidator(_amqp)]
PostgresqlUrl = Annotated[SecretStr, AfterValidator(_postgresql)]


class QueueSettings(BaseModel):
    """How one queue is worked on. The defaults are the seed's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: int = Field(default=5, ge=1, le=200, description="Jobs of this queue that one process runs at once.")
    rate_per_s: Annotated[Annotated[float, Field(gt=0)] | None, NoneIfEmpty] = Field(
        default=10, description="Job starts a second over all workers; empty: no limit."
    )
    prefetch: Annotated[Annotated[int, Field(ge=1)] | None, NoneIfEmpty] = Field(
        default=None, description="Messages held per consumer; empty: twice the concurrency."
    )
    depth: int = Field(default=1000, ge=1, description="Messages the relay keeps in the broker; the rest wait as rows.")


class SmtpRelay(BaseModel):
    """One more relay. Fields as in the ``smtp_*`` settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretStr | None = None


ConsoleRole = Literal["viewer", "operator", "admin"]


class ConsoleUser(BaseModel):
    """Somebody who may sign in to the console."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: ConsoleRole
    password_hash: Annotated[SecretStr, AfterValidator(_argon2)]


class OidcProvider(BaseModel):
    """An OpenID Connect provider that people may sign in to the console through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, AfterValidator(_provider_url)]
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: Annotated[SecretStr, Field(min_length=1)]
    scope: Annotated[str, AfterValidator(_with_openid)] = "openid profile"
    login_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: Annotated[dict[str, ConsoleRole], Field(min_length=1)]


class CronLine(BaseModel):
    """When a job is made: a crontab line with day names, in an IANA zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str = Field(description="A crontab line of five fields, weekdays by name.")
    zone: str = Field(default="UTC", description="IANA time zone of the line.")
    missed: Literal["latest", "all", "skip"] = Field(default="latest", description="What to do about ticks slept over.")


TIMETABLE = {
    "check_invariants": {"cron": "30 3 * * *"},
    "cleanup_expired_tokens": {"cron": "0 2 * * *"},
    "expire_due_gift_cards": {"cron": "* * * * *"},
    "plan_expiry_reminders": {"cron": "* * * * *"},
    "prune_history": {"cron": "0 * * * *"},
}


def _by_name(value: Any) -> Any:
    """Let EMAIL_DELIVERY in a variable's name stand for the queue email-delivery."""
    return {k.lower().replace("_", "-"): v for k, v in value.items()} if isinstance(value, dict) else value


def every_queue(value: Any) -> Any:
    """Give every queue its settings: what is given for it, else the defaults."""
    given = _by_name(value)
    if isinstance(given, dict) and (unknown := given.keys() - set(QUEUES)):
        raise ValueError(f"no queue is called {', '.join(sorted(unknown))}: use one of {', '.join(QUEUES)}")
    return {queue: given.get(queue, {}) for queue in QUEUES} if isinstance(given, dict) else given


def every_line(given: Any) -> Any:
    """Let one line, or one word of a line, be changed without repeating the others."""
    if not isinstance(given, dict):
        return given
    return {name: {**TIMETABLE.get(name, {}), **given.get(name, {})} for name in {**TIMETABLE, **given}}


BACKOFF_S = {
    "send_gift_card_email": (60, 300, 900, 3600, 14400, 43200),
    "send_gift_card_sms": (30, 120, 600, 3600),
}


def every_wait(given: Any) -> Any:
    """Let one message's waits be changed without repeating the others."""
    if isinstance(given, dict) and (unknown := given.keys() - MESSAGES.keys()):
        raise ValueError(f"no message is called {', '.join(sorted(unknown))}: use one of {', '.join(MESSAGES)}")
    return {**BACKOFF_S, **given} if isinstance(given, dict) else given
