"""A card's story: what was done, what was not and by which rule, what is to come; "why was this not sent?" answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from services.console import story
from services.console.why import CLAUSES
from shared import db, suppressions
from shared.messages import DeliverGiftCard, ExpireGiftCard, SendExpiryReminder, SendGiftCardEmail, SendGiftCardSms
from tests.console.conftest import Cli, Read
from tests.kinds import Deliver, Issue, Sql
from tests.outside import Outside

ROOT = Path(__file__).parents[2]
REASON = re.compile(r"\b(?:Skipped|Rejected|PermanentError|RetryLater|BadMessage)\(\s*\"([a-z_]+)\"")


def test_a_story_tells_jobs_deliveries_and_ledger_in_order_and_no_address(
    card: Issue, deliver: Deliver, read: Read, cli: Cli, outside: Outside, sql: Sql
) -> None:
    card_id = card(recipient_email="canary@example.com", recipient_name="Canary")
    deliver(SendGiftCardEmail(gift_card_id=card_id))
    sql("UPDATE gift_cards SET expires_on = current_date - 2 WHERE id = %s", card_id)
    deliver(ExpireGiftCard(gift_card_id=card_id))
    deliver(SendExpiryReminder(gift_card_id=card_id))

    rows = read("story", card_id)["story"]

    told = [(row["kind"], row["what"], row["did"]) for row in rows]
    assert told == [
        ("ledger", "ISSUE", "25.0000 EUR"),
        ("job", "send_gift_card_email", "asked for"),
        ("delivery", "gift by email", "made"),
        ("delivery", "gift by email", "attempt 1"),
        ("delivery", "gift by email", "sent"),
        ("job", "send_gift_card_email", "succeeded"),
        ("job", "expire_gift_card", "asked for"),
        ("ledger", "EXPIRY", "-25.0000 EUR"),
        ("job", "expire_gift_card", "succeeded"),
        ("job", "send_expiry_reminder", "asked for"),
        ("job", "send_expiry_reminder", "skipped"),
    ]
    assert rows[-1]["words"].startswith("not sent, since the card has expired (status EXPIRED")
    output = cli("story", card_id).output
    assert "WXYZ" in output
    assert "c…@e….com" in output
    assert "canary" not in output.lower()
    assert "gift by email: the provider accepted it" in output


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"status": "REDEEMED"}, "since the card is redeemed (status REDEEMED, balance 25.0000 EUR"),
        ({"recipient_email": None}, "since the card has no address for this way (the card has no recipient"),
        ({"recipient_email": "ada@localhost"}, "since the card's address cannot be written to as it stands"),
    ],
)
def test_why_a_gift_was_not_sent_is_answered_with_the_rule_and_what_it_looked_at(
    card: Issue, deliver: Deliver, cli: Cli, read: Read, outside: Outside, changes: dict[str, object], answer: str
) -> None:
    card_id = card(**{"recipient_phone": None, **changes})  # type: ignore[arg-type]  # fields only
    deliver(SendGiftCardEmail(gift_card_id=card_id))

    told = read("story", card_id)

    assert answer in "\n".join(row["words"] for row in told["story"])
    assert any(word in told["answers"][0] for word in ("not sent, since", "given up, since"))
    assert answer in cli("story", card_id).output


def test_a_suppressed_gift_names_the_suppression_who_said_it_and_the_other_way_it_goes(
    card: Issue, deliver: Deliver, read: Read, outside: Outside
) -> None:
    card_id = card()
    with db.transaction() as connection:
        suppressions.suppress(connection, "email", "ada@example.com", "hard_bounce", source="ses")
    deliver(SendGiftCardEmail(gift_card_id=card_id))

    told = read("story", card_id)

    words = {(row["kind"], row["did"]): row["words"] for row in told["story"]}
    assert words["suppression", "suppressed"] == "not written to: hard_bounce, says ses"
    assert words["delivery", "suppressed"] == "not sent, since the address must not be written to"
    assert [(row["what"], row["did"]) for row in told["ahead"]] == [("send_gift_card_sms", "will"), ("expire", "will")]
    assert told["answers"][:2] == [
        "gift by email: not sent, since the address must not be written to",
        "gift by sms: not sent yet",
    ]


def test_what_a_provider_said_at_each_attempt_and_reported_later_is_told(
    card: Issue, deliver: Deliver, read: Read, sql: Sql, outside: Outside
) -> None:
    card_id = card()
    deliver(SendGiftCardSms(gift_card_id=card_id))
    [sent] = sql("SELECT id, provider_id FROM deliveries")
    for event, kind, named in (("1", "accepted", sent["id"]), ("2", "hard_bounce", None)):
        sql(
            "INSERT INTO provider_events (provider, event_id, kind, delivery_id, provider_id, code, body, applied_at)"
            " VALUES ('twilio', %s, %s, %s, %s, '30005', '{}', now())",
            *(event, kind, named, sent["provider_id"]),
        )

    rows = read("story", card_id)["story"]

    attempts = [row["words"] for row in rows if row["did"] == "attempt 1"]
    assert attempts[0].startswith("twilio accepted; status")
    reports = [(row["what"], row["did"], row["words"]) for row in rows if row["kind"] == "report"]
    assert reports == [
        ("gift by sms", "accepted", "by twilio 30005"),
        ("gift by sms", "hard_bounce", "by twilio 30005"),
    ]


def test_what_lies_ahead_comes_last_with_the_wish_it_serves(card: Issue, sql: Sql, read: Read, cli: Cli) -> None:
    card_id = card(expires_on="2150-01-01")
    wish = {"deliver_local": "2149-12-25T09:00", "deliver_tz": "Europe/Berlin"}
    data = json.dumps({"gift_card_id": str(card_id), "method": "email", **wish})
    sql("SELECT enqueue_job('deliver_gift_card', %s::jsonb, source => 'orders')", data)

    told = read("story", card_id)

    will, end = told["ahead"]
    assert (will["at"], will["what"]) == ("2149-12-25T08:00:00+00:00", "deliver_gift_card")
    assert will["words"] == "2149-12-25T09:00 in Europe/Berlin"
    assert (end["what"], end["words"]) == ("expire", "with 25.00 EUR, unless it is extended")
    assert told["answers"] == [
        "gift by email: not sent yet",
        "deliver_gift_card will run at 2149-12-25 08:00:00 UTC",
    ]
    assert "by orders, to run at 2149-12-25 08:00:00, 2149-12-25T09:00 in Europe/Berlin" in cli("story", card_id).output


def test_a_job_that_waits_says_why(card: Issue, deliver: Deliver, read: Read, sql: Sql) -> None:
    card_id = card()
    [job_id] = deliver(DeliverGiftCard(gift_card_id=card_id, method="email"))
    sql(
        "UPDATE jobs SET state = 'scheduled', finished_at = NULL, reason = 'quiet_hours',"
        " run_at = now() + interval '1h', error = 'quiet hours 21:00-08:00' WHERE id = %s",
        job_id,
    )

    told = read("story", card_id)

    waits = "since it is night where the recipient may be (quiet hours 21:00-08:00)"
    tried = [row["words"] for row in told["story"] if row["did"] == "tried"]
    assert tried == [f"attempt 1 of 4: waits, {waits}"]
    assert f"waits, {waits}" in [row["words"] for row in told["ahead"]]


def test_who_did_what_by_hand_and_why_is_part_of_the_story(card: Issue, cli: Cli, read: Read) -> None:
    card_id = card()
    cli("resend", card_id, "--reason", "she lost it", "--as", "kim")
    cli("suppress", "email", "ada@example.com", "--reason", "asked on the phone", "--as", "kim")

    acts = [(row["what"], row["did"], row["words"]) for row in read("story", card_id)["story"] if row["kind"] == "act"]

    assert acts == [
        ("resend_gift_card.asked", "by kim", "she lost it"),
        ("suppress", "by kim", "asked on the phone (made True, scope all)"),
    ]


def test_a_card_that_is_held_says_that_it_does_not_expire(card: Issue, read: Read) -> None:
    card_id = card(expired=True, expiry_hold="unreached")

    [end] = read("story", card_id)["ahead"]

    assert end["words"].endswith("not before an operator releases it, since its gift reached nobody")


def test_a_card_is_found_by_the_end_of_its_code_and_chosen_where_several_have_it(
    card: Issue, cli: Cli, read: Read
) -> None:
    first = card(code_last4="AAAA")
    second, third = card(code_last4="BBBB"), card(code_last4="BBBB")

    assert read("story", "--last4", "AAAA")["card"]["id"] == str(first)
    assert {UUID(row["id"]) for row in read("story", "--last4", "BBBB")} == {second, third}
    assert "no card's code ends with CCCC" in cli("story", "--last4", "CCCC").stderr
    assert "give a card's id, or --last4" in cli("story").stderr


def test_a_gift_that_nobody_asked_for_is_told_as_such(card: Issue, cli: Cli) -> None:
    assert "no gift was sent: nobody asked for it" in cli("story", card()).output


def test_a_story_of_an_unknown_card_that_jobs_name_is_told(deliver: Deliver, cli: Cli) -> None:
    card_id = uuid4()
    deliver(ExpireGiftCard(gift_card_id=card_id))

    output = cli("story", card_id).output

    assert "there is no such card" in output
    assert "card_not_found" not in output


def test_every_reason_in_the_code_has_its_words() -> None:
    code = "\n".join(file.read_text() for part in ("shared", "services") for file in (ROOT / part).rglob("*.py"))
    missing = set(REASON.findall(code)) - CLAUSES.keys() - {"sent_by_this_job"}
    assert missing == set(), f"services/console/why.py has no words for {', '.join(sorted(missing))}"


def test_a_story_reads_no_whole_table_of_jobs_or_reports(card: Issue, sql: Sql) -> None:
    card_id = card()
    sql(
        "INSERT INTO jobs (name, queue, state, gift_card_id, finished_at)"
        " SELECT 'expire_gift_card', 'gift-card-expiry', 'skipped', gen_random_uuid(), clock_timestamp()"
        " FROM generate_series(1, 20000)"
    )
    sql(
        "INSERT INTO provider_events (provider, event_id, delivery_id, provider_id, body, applied_at) SELECT 'twilio',"
        " n::text, gen_random_uuid(), n::text, '{}', clock_timestamp() FROM generate_series(1, 20000) n"
    )
    sql("ANALYZE jobs, provider_events")

    with db.transaction() as connection:
        for statement in (story.PAST, story.AHEAD):
            rows = connection.execute("EXPLAIN " + statement, {"card": card_id, "hashes": []}).fetchall()
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            assert "Seq Scan on jobs" not in plan, plan
            assert "Seq Scan on provider_events" not in plan, plan
