"""Settings are read once, from variables or files, and a wrong one stops the process with a way out."""

from __future__ import annotations

import pytest

from deploy.local import state
from shared import env_example
from shared.options import CronLine, QueueSettings
from shared.settings import Settings, SettingsError, settings
from tests.kinds import Setting

SECRET = "s3cret-value"


def refusal() -> str:
    settings.cache_clear()
    with pytest.raises(SettingsError) as caught:
        settings()
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("JOBS_LEASE", "JOBS_LEASE_S"),
        ("JOBS_DATABSE_URL", "JOBS_DATABASE_URL"),
        ("JOBS_QUEUE__EMAIL_DELIVERY__RATE_PER_S", "JOBS_QUEUES"),
    ],
)
def test_an_unknown_variable_stops_the_process_with_the_nearest_name(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, given: str, meant: str
) -> None:
    monkeypatch.setenv(given, SECRET)

    assert refusal().startswith(f"unknown setting {given}: did you mean {meant}?")
    assert SECRET not in refusal()


def test_one_queue_is_set_without_touching_the_others(setting: Setting) -> None:
    setting(queues__email_delivery__rate_per_s="2.5", queues__email_delivery__concurrency=8)

    assert settings().queues["email-delivery"] == QueueSettings(rate_per_s=2.5, concurrency=8)
    assert settings().queues["sms-delivery"] == QueueSettings(concurrency=5, rate_per_s=10)


def test_an_empty_rate_means_no_limit(setting: Setting) -> None:
    setting(queues__email_delivery__rate_per_s="", queues__email_delivery__prefetch="")

    assert settings().queues["email-delivery"] == QueueSettings(rate_per_s=None, prefetch=None)


def test_a_queue_that_does_not_exist_is_refused_with_the_ones_that_do(setting: Setting) -> None:
    setting(queues__emails__rate_per_s=1)

    assert "no queue is called emails: use one of gift-card-expiry, " in refusal()


def test_one_word_of_one_cron_line_is_set_without_touching_the_rest(setting: Setting) -> None:
    setting(timetable__cleanup_expired_tokens__zone="Europe/Berlin")

    assert settings().timetable["cleanup_expired_tokens"] == CronLine(cron="0 2 * * *", zone="Europe/Berlin")
    assert settings().timetable["expire_due_gift_cards"] == CronLine(cron="* * * * *")


def test_the_backoff_of_one_message_is_set_without_touching_the_others(setting: Setting) -> None:
    setting(backoff_s='{"expire_gift_card": [1, 2]}')

    assert settings().backoff("expire_gift_card") == (1, 2)
    assert settings().backoff("send_gift_card_email")[0] == 60
    assert settings().backoff("prune_history") == (2, 4, 8)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("lease_s", "-77", "JOBS_LEASE_S: Input should be greater than 0"),
        ("http_port", "77777", "JOBS_HTTP_PORT: "),
        ("queue_type", "s3cret-value", "JOBS_QUEUE_TYPE: Input should be 'quorum' or 'classic'"),
        ("queues__email_delivery__rate_per_s", "-77", "JOBS_QUEUES__EMAIL_DELIVERY__RATE_PER_S"),
        ("queues__email_delivery__ratio", "77", "JOBS_QUEUES__EMAIL_DELIVERY__RATIO: Extra inputs are not permitted"),
        ("backoff_s", '{"expire": [1]}', "no message is called expire: use one of "),
        ("backoff_s", "{s3cret-value", "it must be JSON"),
        ("reminder_days", "s3cret-value", "it must be JSON"),
    ],
)
def test_a_wrong_value_names_its_variable_and_is_not_repeated(
    setting: Setting, name: str, value: str, says: str
) -> None:
    setting(**{name: value})

    text = refusal()
    assert says in text
    assert "77" not in text
    assert SECRET not in text


def test_a_missing_setting_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_DATABASE_URL")

    assert "JOBS_DATABASE_URL: Field required" in refusal()


def test_settings_do_not_change(setting: Setting) -> None:
    setting(database_url="postgresql://nowhere", rabbitmq_url="amqp://nowhere")

    with pytest.raises(ValueError, match="frozen"):
        settings().lease_s = 1  # type: ignore[misc]  # what is refused


def test_every_setting_is_described() -> None:
    described = {**Settings.model_fields, **QueueSettings.model_fields, **CronLine.model_fields}

    assert [name for name, field in described.items() if not field.description] == []


def test_the_example_shows_every_setting_as_it_is() -> None:
    assert (state.ROOT / ".env.example").read_text() == env_example.text(), (
        "run: python -m shared.env_example > .env.example"
    )


def test_the_example_can_be_read_back(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.lstrip("#") for line in env_example.text().splitlines() if line.lstrip("#").startswith("JOBS_")]

    for name, _, value in (line.partition("=") for line in lines):
        monkeypatch.setenv(name, value)

    settings.cache_clear()
    given = settings().model_dump()
    assert given == Settings(database_url=given["database_url"], rabbitmq_url=given["rabbitmq_url"]).model_dump()
    assert len(lines) >= len(Settings.model_fields)
