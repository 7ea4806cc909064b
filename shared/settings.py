"""Every setting of every service, in one frozen model, read from ``JOBS_*`` variables or ``JOBS_*_FILE`` files."""

from __future__ import annotations

import os
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as NotJson

from shared.options import (
    AmqpUrl,
    ConsoleUser,
    CronLine,
    LoginName,
    NoneIfEmpty,
    OidcProvider,
    OwnUrl,
    PostgresqlUrl,
    QueueSettings,
    QuietHours,
    SmtpRelay,
    every_line,
    every_queue,
    every_wait,
)
from shared.secret_files import SUFFIX, SettingsError, VariablesOrFiles

__all__ = ["FOR_TESTS", "PREFIX", "Settings", "SettingsError", "settings"]

PREFIX = "JOBS_"
# Read by tests and by shared/failpoints.py, not by a service.
FOR_TESTS = {
    "JOBS_FAILPOINTS",
    "JOBS_FAILPOINTS_JOURNAL",
    "JOBS_TEST_DATABASE_URL",
    "JOBS_TEST_RABBITMQ_URL",
    "JOBS_TEST_MANAGEMENT_URL",
}


class Settings(BaseSettings):
    """All settings. Times end in ``_s`` and are seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    database_url: PostgresqlUrl = Field(description="postgresql://user:password@host:5432/name")
    rabbitmq_url: AmqpUrl = Field(description="amqp://user:password@host:5672/vhost")
    topology_url: Annotated[AmqpUrl | None, NoneIfEmpty] = Field(
        default=None,
        description="The same broker as a user who may declare queues; scheduler only; empty: JOBS_RABBITMQ_URL.",
    )
    queue_type: Literal["quorum", "classic"] = Field(
        default="quorum", description="RabbitMQ queue type; changing it is a migration."
    )
    queues: Annotated[dict[str, QueueSettings], BeforeValidator(every_queue)] = Field(
        default={}, validate_default=True, description="Per queue."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe log lines to print."
    )
    http_host: str = Field(
        default="127.0.0.1", description="Where /livez, /readyz and /metrics listen; 0.0.0.0 in a container."
    )
    http_port: int = Field(default=9191, ge=0, le=65535, description="Their port; the next free one if taken; 0: any.")

    build_version: str = Field(default="dev", description="What was built, for /metrics; images set it.")
    build_revision: str = Field(default="unknown", description="Of which commit; images set it.")

    lease_s: float = Field(default=60, gt=0, description="How long a silent worker keeps a job before it is rescued.")
    shutdown_grace_s: float = Field(default=25, ge=0, description="How long running jobs may finish after SIGTERM.")
    statement_timeout_s: float = Field(default=30, gt=0, description="Longest SQL statement of a job.")
    backoff_s: Annotated[dict[str, tuple[Annotated[float, Field(ge=0)], ...]], BeforeValidator(every_wait)] = Field(
        default={}, validate_default=True, description="Waits before each retry, by message; others wait 2, 4 and 8 s."
    )
    max_stalls: int = Field(default=3, ge=1, description="Stalls after which a job is failed: it kills its worker.")
    silent_s: float = Field(
        default=60, gt=0, description="A published job that no worker starts is published again after this."
    )
    unknown_card_grace_s: float = Field(
        default=60, ge=0, description="How long a card that is not there yet may still come."
    )
    unknown_message_grace_s: float = Field(
        default=900, ge=0, description="How long an unknown message waits for newer workers."
    )

    timetable: Annotated[dict[str, CronLine], BeforeValidator(every_line)] = Field(
        default={}, validate_default=True, description="Which message is made when."
    )
    slice_rows: int = Field(default=1000, ge=1, le=5000, description="Rows per transaction of a sweep or a cleanup.")
    reminder_days: tuple[int, ...] = Field(
        default=(30, 7, 1), description="Days before expiry on which owners are reminded."
    )
    reminder_hour: int = Field(default=9, ge=0, le=23, description="Local hour at which reminders go out.")
    brake_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="A sweep that would expire a larger share of the active cards stops and asks.",
    )
    brake_cards: int = Field(default=1000, ge=0, description="Up to so many cards the share does not matter.")
    brake_amounts: dict[str, Decimal] = Field(
        default={}, description="Most money one sweep may expire without asking, by currency."
    )
    token_grace_s: float = Field(default=86400, ge=0, description="How long an expired token is kept.")
    keep_completed_s: float = Field(default=3600, ge=0, description="How long completed jobs are kept.")
    keep_completed_count: int = Field(default=1000, ge=0, description="Completed jobs kept per queue at most.")
    keep_failed_s: float = Field(default=86400, ge=0, description="How long failed and rejected jobs are kept.")

    check_database_url: Annotated[PostgresqlUrl | None, NoneIfEmpty] = Field(
        default=None, description="Where the invariants are counted, such as a replica; empty: JOBS_DATABASE_URL."
    )
    check_limit_s: float = Field(default=60, gt=0, description="Longest query of that check.")

    smtp_host: str = Field(default="127.0.0.1", description="The relay that takes our mail.")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection to it is encrypted; none only on this machine."
    )
    smtp_user: Annotated[str | None, NoneIfEmpty] = Field(default=None, description="User there; empty: no login.")
    smtp_password: Annotated[SecretStr | None, NoneIfEmpty] = Field(default=None, description="Password of that user.")
    smtp_fallbacks: tuple[SmtpRelay, ...] = Field(
        default=(), description="Relays to try, in order, when the first fails."
    )
    smtp_timeout_s: float = Field(default=60, gt=0, description="Longest wait for one SMTP reply but the last.")
    mail_from: str = Field(default="Gift Cards <gifts@example.com>", description="Sender of our mail.")
    shop_name: str = Field(default="Gift Cards", description="How the shop calls itself in mails.")
    shop_url: str = Field(default="https://shop.example.com", description="Where the links in our mail lead.")
    code_keys: tuple[SecretStr, ...] = Field(
        default=(), description="Fernet keys of the card codes, newest first; delivery only."
    )
    settle_s: float = Field(
        default=120,
        ge=0,
        description="How long an unknown outcome settles before it is asked about: what a line still holds may arrive.",
    )
    twilio_account_sid: Annotated[str | None, NoneIfEmpty] = Field(default=None, description="Account (AC…).")
    twilio_api_key: Annotated[str | None, NoneIfEmpty] = Field(default=None, description="API key (SK…).")
    twilio_api_secret: Annotated[SecretStr | None, NoneIfEmpty] = Field(default=None, description="Secret of that key.")
    twilio_from: Annotated[str | None, NoneIfEmpty] = Field(
        default=None, description="A number in E.164, or a messaging service (MG…)."
    )
    twilio_base_url: Annotated[str | None, NoneIfEmpty] = Field(
        default=None, description="Another address of Twilio's API; empty: the real one."
    )
    twilio_timeout_s: float = Field(default=10, gt=0, description="Longest wait for one answer of Twilio.")

    webhook_host: str = Field(default="127.0.0.1", description="Where the webhooks listen; 0.0.0.0 in a container.")
    webhook_port: int = Field(default=8080, ge=0, le=65535, description="Their port; 0: any.")
    webhook_url: Annotated[str | None, NoneIfEmpty] = Field(
        default=None,
        description="Their public base URL, as providers and readers see it; empty: nothing refers to them.",
    )
    webhook_keys: tuple[SecretStr, ...] = Field(
        default=(), description="Secrets that sign our own links (status callbacks, unsubscribe), newest first."
    )
    twilio_auth_token: Annotated[SecretStr | None, NoneIfEmpty] = Field(
        default=None, description="The account's auth token, which signs Twilio's webhooks; needed there only."
    )
    ses_topics: tuple[str, ...] = Field(
        default=(), description="ARNs of our SNS topics with reports of Amazon SES; all others are refused."
    )
    sendgrid_public_key: Annotated[str | None, NoneIfEmpty] = Field(
        default=None, description="Verification key of SendGrid's signed event webhook, base64."
    )
    postmark_credentials: Annotated[SecretStr | None, NoneIfEmpty] = Field(
        default=None, description="user:password of Postmark's webhooks, or their X-Webhook-Secret header."
    )
    relay_events_key: Annotated[SecretStr | None, NoneIfEmpty] = Field(
        default=None, description="Secret with which another relay signs what it posts to /email/events."
    )
    sms_quiet_hours: QuietHours = Field(
        default="21:00-08:00", description="No SMS then, where the recipient may be; empty: any time."
    )
    email_quiet_hours: QuietHours = Field(default="", description="The same for e-mail; empty: any time.")
    sms_countries: tuple[str, ...] = Field(
        default=(), description="ISO 3166 countries that get SMS; empty: all. Guards against pumping."
    )
    sms_per_recipient_a_day: int = Field(default=10, ge=1, description="SMS to one number in 24 hours.")
    sms_a_day: int = Field(default=100_000, ge=1, description="SMS of this shop in 24 hours.")

    console_host: str = Field(default="127.0.0.1", description="Where the console listens; 0.0.0.0 in a container.")
    console_port: int = Field(default=8090, ge=0, le=65535, description="Its port; 0: any.")
    console_url: OwnUrl = Field(
        default="http://127.0.0.1:8090", description="Its address as browsers see it; https, except on this machine."
    )
    console_users: dict[LoginName, ConsoleUser] = Field(
        default={}, description='Who may sign in there: {"ada": {"role": "operator", "password_hash": "$argon2id$..."}}'
    )
    console_keys: tuple[SecretStr, ...] = Field(
        default=(), description="Secrets that sign its sessions, newest first; console only."
    )
    console_oidc: Annotated[OidcProvider | None, NoneIfEmpty] = Field(
        default=None, description="OpenID Connect provider to sign in through; see docs/operations.md."
    )
    console_session_s: int = Field(default=28800, ge=1, description="How long somebody stays signed in.")
    console_proxies: tuple[str, ...] = Field(
        default=(), description="Addresses or networks of proxies before it, whose X-Forwarded-For is believed."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read from variables and from the files that variables name, and from nowhere else."""
        return init_settings, VariablesOrFiles(settings_cls)

    def backoff(self, name: str) -> tuple[float, ...]:
        """Give the waits before each retry of a message, in seconds; their number is the number of retries."""
        return self.backoff_s.get(name, (2, 4, 8))


@cache
def settings() -> Settings:
    """Read the settings of this process, once.

    Raises:
        SettingsError: for an unknown ``JOBS_*`` variable, a missing or a wrong one. No value is repeated.
    """
    _refuse_unknown()
    try:
        return Settings()
    except ValidationError as error:
        problems = [f"  {_variable(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("wrong settings (see .env.example):\n" + "\n".join(problems)) from None
    except NotJson as error:
        raise SettingsError(f"wrong settings (see .env.example): {error}, it must be JSON") from None


def _variable(path: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(map(str, path)).upper().replace("-", "_")


def _refuse_unknown() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | FOR_TESTS
    for name in os.environ:
        if name.startswith(PREFIX) and name.removesuffix(SUFFIX).split("__")[0] not in known:
            near = get_close_matches(name.split("__")[0], known, n=1)
            raise SettingsError(
                f"unknown setting {name}: " + (f"did you mean {near[0]}?" if near else "see .env.example")
            )
