"""Cards and deliveries on pages: found, told, masked, resolved, suppressed; and every act kept."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.console.conftest import Made, Sent
from tests.console.web.conftest import Browser
from tests.kinds import Issue, Sql

ADDRESS, NUMBER = "ada@example.com", "+14155550123"


def audit(sql: Sql) -> list[tuple[str, str, str]]:
    return [(row["who"], row["action"], row["reason"]) for row in sql("SELECT * FROM audit ORDER BY id")]


def test_a_card_is_found_by_its_id_and_by_its_last_four_with_its_story(browser: Browser, card: Issue) -> None:
    card_id = card()
    client = browser("vera")

    for find in (card_id, "wxyz", " WXYZ "):
        page = client.get("/cards", params={"find": str(find)}).text
        assert f'<h2 class="id">{card_id}</h2>' in page
        assert "ISSUE" in page
    assert client.get(f"/api/v1/cards/{card_id}").json()["story"][0]["what"] == "ISSUE"


def test_of_many_cards_that_end_alike_each_is_shown_to_choose(browser: Browser, card: Issue) -> None:
    cards = [card(), card()]

    page = browser("vera").get("/cards?find=WXYZ").text

    assert all(f'href="/cards/{card_id}"' in page for card_id in cards)


@pytest.mark.parametrize("find", ["QQQQ", "%", "'", str(UUID(int=7))])
def test_what_is_not_there_is_said(browser: Browser, find: str) -> None:
    assert "No card has this id" in browser("vera").get("/cards", params={"find": find}).text


def test_a_card_that_nobody_knows_is_refused(browser: Browser) -> None:
    answer = browser("vera").get(f"/cards/{uuid4()}")

    assert answer.status_code == 409
    assert "no job names it" in answer.text


@pytest.mark.parametrize("path", ["/cards?find=WXYZ", "/deliveries", "/suppressions", "/audit", "/", "/forecast"])
def test_no_page_and_no_answer_shows_an_address_or_a_code(browser: Browser, card: Issue, sent: Sent, path: str) -> None:
    sent(card(), reason="held")
    client = browser("ada")

    for shown in (client.get(path).text, client.get(f"/api/v1{path}").text):
        assert ADDRESS not in shown
        assert NUMBER not in shown
        assert "GIFT-7Q4X" not in shown


def test_a_whole_address_is_for_operators_on_a_page_of_its_own_and_kept(
    browser: Browser, card: Issue, sql: Sql
) -> None:
    act = {"card": str(card()), "reason": "she is on the phone"}

    refused = browser("vera").post("/acts/show_recipient", data=act)
    shown = browser("otto").post("/acts/show_recipient", data=act)

    assert refused.status_code == 403
    assert f"{ADDRESS} · {NUMBER}" in shown.text
    assert "console-said" not in shown.headers.get("Set-Cookie", "")
    assert audit(sql) == [("otto", "recipient.shown", "she is on the phone")]


def test_a_gift_is_sent_again_by_a_message_with_the_login_and_the_reason(
    browser: Browser, card: Issue, sql: Sql
) -> None:
    act = {"card": str(card()), "by": "sms", "reason": "she lost the mail"}

    said = browser("otto").post("/api/v1/acts/resend_gift", json=act).json()["said"]

    [job] = sql("SELECT name, data FROM jobs")
    assert (job["name"], job["data"]["method"], job["data"]["requested_by"]) == ("resend_gift_card", "sms", "otto")
    assert "is asked for" in said
    assert audit(sql) == [("otto", "resend_gift_card.asked", "she lost the mail")]


def test_a_delivery_is_taken_back(browser: Browser, card: Issue, sql: Sql) -> None:
    browser("otto").post("/acts/cancel_delivery", data={"card": str(card()), "reason": "order refunded"})

    assert sql("SELECT name FROM jobs") == [{"name": "cancel_delivery"}]


def test_a_held_card_is_released(browser: Browser, card: Issue, sql: Sql) -> None:
    card_id = card(expiry_hold="unreached")
    client = browser("otto")

    assert "Let it expire" in client.get(f"/cards/{card_id}").text
    client.post("/acts/release_card", data={"card": str(card_id), "reason": "buyer was told twice"})

    assert sql("SELECT expiry_hold FROM gift_cards") == [{"expiry_hold": "released"}]


def test_held_deliveries_come_first_with_evidence_and_two_answers(browser: Browser, card: Issue, sent: Sent) -> None:
    card_id = card()
    sent(card_id, "sent")
    held = sent(card_id, reason="held")
    client = browser("otto")

    page, rows = client.get("/deliveries").text, client.get("/api/v1/deliveries").json()["deliveries"]

    assert rows[0]["id"] == str(held)
    assert "2026-11-24 08:00:01 smtp:relay:587 unknown no_reply" in page
    assert page.count('action="/acts/resolve_delivery"') == 2
    assert client.get("/api/v1/deliveries?state=sent&channel=sms").json()["deliveries"] == []


@pytest.mark.parametrize(("answer", "state", "jobs"), [("arrived", "sent", 0), ("send_again", "unconfirmed", 1)])
def test_an_unknown_delivery_is_resolved(
    browser: Browser, card: Issue, sent: Sent, sql: Sql, answer: str, state: str, jobs: int
) -> None:
    act = {"delivery": str(sent(card(), reason="held")), "answer": answer, "reason": "seen in the log"}
    client = browser("otto")

    first = client.post("/api/v1/acts/resolve_delivery", json=act)
    again = client.post("/api/v1/acts/resolve_delivery", json=act)

    assert (first.status_code, again.status_code) == (200, 409)
    assert sql("SELECT state, settled_by FROM deliveries") == [{"state": state, "settled_by": "operator"}]
    assert sql("SELECT count(*) AS n FROM jobs") == [{"n": jobs}]
    assert ("otto", "delivery.resolved", "seen in the log") in audit(sql)


def test_an_address_is_suppressed_and_lifted_by_its_fingerprint_only(browser: Browser, sql: Sql) -> None:
    client = browser("otto")
    act = {"channel": "email", "address": ADDRESS, "reason": "asked on the phone"}

    said = client.post("/api/v1/acts/suppress_address", json=act).json()["said"]
    [row] = client.get("/api/v1/suppressions").json()["suppressions"]
    lifted = client.post("/api/v1/acts/lift_suppression", json=act | {"address": row["address"]})

    assert said == "a…@e….com is not written to any more"
    assert row["shown"].startswith("sha256:")
    assert lifted.status_code == 200
    assert client.get("/api/v1/suppressions").json()["suppressions"] == []
    assert len(client.get("/api/v1/suppressions?lifted=true&channel=email").json()["suppressions"]) == 1
    assert client.post("/api/v1/acts/suppress_address", json=act | {"address": "nobody"}).status_code == 409


def test_the_audit_is_read_page_by_page(browser: Browser, made: Made) -> None:
    client = browser("otto")
    for queue in ("sms-delivery", "email-delivery", "sms-delivery"):
        client.post("/api/v1/acts/pause_queue", json={"queue": queue, "reason": "provider incident"})

    latest = client.get("/api/v1/audit?limit=2").json()
    older = client.get(f"/api/v1/audit?limit=2&before={latest['older']}").json()

    assert [row["subject"] for row in latest["acts"]] == ["sms-delivery", "email-delivery"]
    assert [row["subject"] for row in older["acts"]] == ["sms-delivery"]
    assert older["older"] is None
    assert len(client.get("/api/v1/audit?subject=email-delivery&who=otto").json()["acts"]) == 1
    assert "Older" in client.get("/audit?limit=2").text
