"""A card's delivery by hand: each command is a message, an audit row and, for a correction, the card, in one commit."""

from __future__ import annotations

from uuid import uuid4

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from tests.console.conftest import Cli
from tests.kinds import Issue, Sql

WHY = ("--reason", "she asked for it", "--as", "support.ada")
ASKED = "SELECT name, data, state, priority, source FROM jobs ORDER BY enqueued_at"
KEPT = "SELECT who, action, subject, reason, details FROM audit ORDER BY id"


def test_a_gift_is_asked_for_again_by_either_way_before_all_that_waits(card: Issue, cli: Cli, sql: Sql) -> None:
    card_id = card()

    assert "resend_gift_card is asked for: job" in cli("resend", card_id, *WHY).output
    cli("resend", card_id, "--by", "sms", *WHY)

    rows = sql(ASKED)
    asked = {"gift_card_id": str(card_id), "requested_by": "support.ada", "reason": "she asked for it"}
    assert [row["data"] for row in rows] == [asked | {"method": "email"}, asked | {"method": "sms"}]
    assert {(row["name"], row["priority"], row["source"]) for row in rows} == {("resend_gift_card", 0, "console")}
    kept = sql(KEPT)
    assert [(row["who"], row["action"], row["subject"]) for row in kept] == [
        ("support.ada", "resend_gift_card.asked", str(card_id))
    ] * 2


def test_a_delivery_is_taken_back(card: Issue, cli: Cli, sql: Sql) -> None:
    cli("cancel-delivery", card(), *WHY)

    assert [row["name"] for row in sql(ASKED)] == ["cancel_delivery"]
    assert [row["action"] for row in sql(KEPT)] == ["cancel_delivery.asked"]


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        (["2199-12-25T09:00", "--zone", "Europe/Berlin"], ("deliver_local", "2199-12-25T09:00:00")),
        (["2199-12-25T09:00:00-05:00"], ("deliver_at", "2199-12-25T09:00:00-05:00")),
        (["now"], ("deliver_at", None)),
    ],
)
def test_a_delivery_is_moved_to_a_wall_time_an_instant_or_now(
    card: Issue, cli: Cli, sql: Sql, words: list[str], wish: tuple[str, str | None]
) -> None:
    result = cli("reschedule", card(), *words, *WHY)

    assert result.exit_code == 0, result.output
    assert sql(ASKED)[0]["data"].get(wish[0]) == wish[1]


def test_a_corrected_recipient_is_on_the_card_with_its_message_and_shown_masked(
    card: Issue, cli: Cli, sql: Sql
) -> None:
    card_id = card(recipient_email="wrong@example.com")

    result = cli("correct", card_id, "--email", "Right@BÜCHER.de", *WHY)

    [row] = sql("SELECT recipient_email, recipient_phone, recipient_version FROM gift_cards")
    assert row == {
        "recipient_email": "Right@xn--bcher-kva.de",
        "recipient_phone": "+14155550123",
        "recipient_version": 2,
    }
    [asked] = sql(ASKED)
    assert (asked["name"], asked["data"]["recipient_version"]) == ("correct_recipient", 2)
    assert "the recipient is R…@x….de, +1…23 now, version 2" in result.output
    assert not any("bcher" in str(row).lower() for row in sql(KEPT) + sql(ASKED))


def test_a_corrected_recipient_is_asked_for_where_no_history_keeps_it(card: Issue, cli: Cli, sql: Sql) -> None:
    cli("correct", card(), *WHY, answer="\n+44 7400 123456\n")

    [row] = sql("SELECT recipient_email, recipient_phone FROM gift_cards")
    assert row == {"recipient_email": "ada@example.com", "recipient_phone": "+447400123456"}


def test_when_a_correction_cannot_be_asked_for_the_card_stays_as_it_was(card: Issue, cli: Cli, sql: Sql) -> None:
    result = cli("correct", card(), "--email", "right@example.com", "--reason", "call +1 415")

    assert "it is kept for ever" in result.stderr
    assert sql("SELECT recipient_version FROM gift_cards") == [{"recipient_version": 1}]
    assert sql(ASKED) == sql(KEPT) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["resend", "CARD", "--by", "pigeon"], "no channel is called 'pigeon'"),
        (["resend", uuid4()], "there is no card"),
        (["reschedule", "CARD", "2199-12-25T09:00"], "Add --zone Europe/Berlin (where the card's recipient lives)"),
        (["reschedule", "CARD", "2199-12-25T09:00", "--zone", "Mars/Phobos"], "unknown time zone 'Mars/Phobos'"),
        (["reschedule", "CARD", "soon"], "'soon' is no time"),
        (["reschedule", "CARD", "2025-01-01T00:00Z"], "is past: to deliver at once, say 'now'"),
        (["correct", "CARD", "--email", "ada@"], "invalid_address: give a mailbox"),
        (["correct", "CARD", "--email", "ada@example.com"], "nothing changes"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(
    card: Issue, cli: Cli, sql: Sql, words: list[object], says: str
) -> None:
    card_id = card(time_zone="Europe/Berlin")

    result = cli(*(card_id if word == "CARD" else word for word in words), *WHY)

    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert sql(ASKED) == sql(KEPT) == []


def test_a_login_that_cannot_be_kept_is_refused(card: Issue, cli: Cli) -> None:
    result = cli("cancel-delivery", card(), "--reason", "she asked", "--as", "ada@example.com")

    assert "give one with --as" in result.stderr


def test_a_reason_is_needed(card: Issue, cli: Cli) -> None:
    assert cli("resend", card()).exit_code == 2


@pytest.mark.parametrize("reason", ["", "  ", "she is ada@example.com", "call +1 415"])
def test_a_reason_says_something_and_holds_no_address_whatever_the_act(cli: Cli, sql: Sql, reason: str) -> None:
    for words in (["pause", "sms-delivery"], ["prune"], ["suppress", "email", "ada@example.com"]):
        result = cli(*words, "--reason", reason)

        assert (result.exit_code, result.stdout) == (1, "")
        assert "it is kept for ever" in result.stderr
    assert sql(ASKED) == sql(KEPT) == []
