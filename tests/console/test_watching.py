"""What holds things back: breakers, the brake and held cards, suppressions, each shown and let go."""

from __future__ import annotations

import pytest

from shared import db, suppressions
from tests.console.conftest import Cli, Read
from tests.kinds import Issue, Setting, Sql

WHY = ("--reason", "asked on the phone", "--as", "ada")
ADDRESS = "canary@example.com"


def test_an_open_breaker_is_shown_and_tried_again_at_once(cli: Cli, read: Read, sql: Sql) -> None:
    sql(
        "INSERT INTO breakers (provider, code, said, probe_at, failures, holds) VALUES ('smtp:relay:587', '535 5.7.8',"
        " 'authentication failed', clock_timestamp() + interval '30 minutes', 4, 'email-delivery')"
    )

    [shown] = read("breakers")
    result = cli("release", "breaker", "smtp:relay:587", *WHY)

    assert (shown["provider"], shown["code"], shown["failures"], shown["holds"]) == (
        "smtp:relay:587",
        "535 5.7.8",
        4,
        "email-delivery",
    )
    assert "authentication failed" in cli("breakers").output
    assert "is its probe" in result.output
    assert sql("SELECT FROM breakers WHERE probe_at <= clock_timestamp()")
    assert sql("SELECT who, action, subject FROM audit") == [
        {"who": "ada", "action": "breaker.released", "subject": "smtp:relay:587"}
    ]


def test_no_breaker_is_open(cli: Cli) -> None:
    assert "none is open" in cli("breakers").output
    assert "no breaker of 'twilio' is open" in cli("release", "breaker", "twilio", *WHY).stderr
    assert "release breaker NAME" in cli("release", "breaker", *WHY).stderr
    assert "what is 'twilio'?" in cli("release", "brake", "twilio", *WHY).stderr


def test_the_brake_tells_what_a_sweep_would_do_by_currency_with_what_is_held_apart(
    card: Issue, cli: Cli, read: Read, setting: Setting
) -> None:
    card("10.00", expired=True)
    card("1500.00", expired=True, currency="USD")
    card("7.00", expired=True, expiry_hold="unreached")
    card("99.00")

    found = read("brake")

    assert found["cards_by_currency"] == {"EUR": 1, "USD": 1}
    assert found["amounts"] == {"EUR": "10.0000", "USD": "1500.0000"}
    assert found["held"] == [{"currency": "EUR", "cards": 1, "amount": "7.0000"}]
    output = cli("brake").output
    assert "1,500.00" in output
    assert "the next sweep goes through" in output
    setting(brake_amounts='{"USD": 1000}')
    assert "the brake will stop the next sweep: 2 cards, over 1000 USD" in cli("brake").output


def test_the_brake_says_since_when_it_stands_and_who_released_it(
    card: Issue, cli: Cli, sql: Sql, setting: Setting
) -> None:
    setting(brake_amounts='{"EUR": 1}')
    card(expired=True)
    sql("INSERT INTO brakes (name, pulled_at, details) VALUES ('expiry', '2026-11-24T08:00Z', '{}')")

    assert "the brake stands since 2026-11-24 08:00 UTC" in cli("brake").output
    cli("release", "brake", *WHY)
    assert "released by ada: asked on the phone" in cli("brake").output


def test_an_address_is_suppressed_listed_and_lifted_by_its_fingerprint_only(cli: Cli, read: Read, sql: Sql) -> None:
    cli("suppress", "email", "canary@Example.COM", *WHY)
    with db.transaction() as connection:
        found = suppressions.suppression(connection, "email", ADDRESS, kind="gift")
    [listed] = read("suppressions", "--channel", "email", "--address", ADDRESS)
    lifted = cli("lift", "email", ADDRESS, *WHY)

    assert found == "manual"
    assert (listed["reason"], listed["source"], listed["scope"]) == ("manual", "ada", "all")
    assert listed["address"].startswith("sha256:")
    assert len(listed["address"]) < 20
    assert "c…@e….com is written to again: was manual" in lifted.output
    assert read("suppressions") == []
    assert len(read("suppressions", "--lifted")) == 1
    audit = sql("SELECT who, action, reason, subject FROM audit ORDER BY id")
    assert [row["action"] for row in audit] == ["suppress", "lift_suppression"]
    assert "canary" not in str(audit)


def test_an_address_is_asked_for_where_no_history_keeps_it(cli: Cli, read: Read) -> None:
    cli("suppress", "sms", "-", "--scope", "reminders", *WHY, answer="+44 7400 123456\n")

    [listed] = read("suppressions")
    assert (listed["channel"], listed["scope"]) == ("sms", "reminders")


def test_what_somebody_said_to_one_number_is_lifted_for_that_number_only(cli: Cli, database: str) -> None:
    with db.transaction() as connection:
        suppressions.suppress(connection, "sms", "+447400123456", "stop", scope="from:+14155550100")

    result = cli("lift", "sms", "+447400123456", *WHY)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is stop (--scope from:+14155550100)" in result.stderr
    assert cli("lift", "sms", "+447400123456", "--scope", "from:+14155550100", *WHY).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["suppress", "email", "nobody"], "invalid_address: give a mailbox"),
        (["suppress", "pigeon", ADDRESS], "no channel is called 'pigeon'"),
        (["suppress", "email", ADDRESS, "--scope", "half"], "no scope is called 'half'"),
        (["lift", "email", ADDRESS], "nothing to lift in scope 'all'"),
    ],
)
def test_what_is_no_address_and_no_suppression_is_said(cli: Cli, sql: Sql, words: list[str], says: str) -> None:
    result = cli(*words, *WHY)

    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert sql("SELECT FROM suppressions") == sql("SELECT FROM audit") == []
