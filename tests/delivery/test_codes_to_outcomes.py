"""What each code of a provider comes to: the job, the delivery, suppression, breaker and wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import services.delivery.actors  # noqa: F401  # registers the actors
from services.delivery.providers import SMTP_ENHANCED, SMTP_REPLY, TWILIO, ErrorClass
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.delivery.test_providers import SMTP_TABLE, TWILIO_TABLE
from tests.kinds import Deliver, Issue, JobOf, Row, Sql
from tests.outside import FROM_NUMBER, Outside


@dataclass(frozen=True)
class Outcome:
    """What is to be seen afterwards: the job's state, reason and attempts, and the state of the delivery."""

    job: str
    reason: str
    attempt: int
    delivery: str


OUTCOMES = {
    ErrorClass.TRANSIENT: Outcome("scheduled", "transient", 1, "queued"),
    ErrorClass.RATE_LIMITED: Outcome("scheduled", "rate_limited", 0, "queued"),
    ErrorClass.RECIPIENT: Outcome("failed", "recipient", 1, "failed"),
    ErrorClass.CONTENT: Outcome("failed", "content", 1, "failed"),
    ErrorClass.SENDER: Outcome("scheduled", "sender", 0, "queued"),
    ErrorClass.UNKNOWN: Outcome("scheduled", "settling", 0, "unconfirmed"),
}
# What services/delivery/providers.py sorts besides the tables of test_providers.py.
BESIDES = {
    ErrorClass.TRANSIENT: "455; 550 5.3.2",
    ErrorClass.RECIPIENT: "550 5.1.0; 550 5.4.6; 556",
    ErrorClass.CONTENT: "555; 550 5.2.3; 550 5.3.3",
    ErrorClass.SENDER: "550 5.1.7; 534",
}
REPLIES = {found: [*replies.split("; "), *BESIDES[found].split("; ")] for found, replies in SMTP_TABLE.items()}
TEXTS = {found: [int(code) for code in codes.split()] for found, codes in TWILIO_TABLE.items()}
# What says that nobody is there: such an address is not written to again.
NOBODY = {
    "550 5.1.1", "550 5.1.2", "550 5.1.3", "550 5.1.6", "550 5.1.10", "551", "553 5.1.3", "550 5.2.1", "550 5.4.4"
}  # fmt: skip
NO_PHONE = {21211, 21401, 21614, 30004, 30005, 30006}
# Seconds to wait at the least, where the code says more than the backoff does.
WAITS = dict.fromkeys(("450", "450 4.2.0", "450 4.7.1", "451 4.7.1"), 300) | {
    20429: 30, **dict.fromkeys((30023, 30027, 30610, 30047), 3600)
}  # fmt: skip
HTTP_STATUS = {20003: 401, 20005: 401, 20404: 404, 20429: 429, 20500: 500, 20503: 503}
BY_STATUS = {
    400: ErrorClass.CONTENT, 401: ErrorClass.SENDER, 403: ErrorClass.SENDER, 404: ErrorClass.SENDER,
    408: ErrorClass.UNKNOWN, 429: ErrorClass.RATE_LIMITED, 500: ErrorClass.UNKNOWN, 502: ErrorClass.UNKNOWN,
    503: ErrorClass.UNKNOWN, 504: ErrorClass.UNKNOWN,
}  # fmt: skip


class Refusing:
    """Send to somebody new for each code, and give what came of it."""

    def __init__(self, card: Issue, deliver: Deliver, outside: Outside, sql: Sql, job: JobOf) -> None:
        self._card, self._deliver, self._outside, self._sql, self._job = card, deliver, outside, sql, job

    def mail(self, reply: str, phase: str) -> Row:
        """Have a mail refused with a reply such as ``550 5.1.1``."""
        code, _, enhanced = reply.partition(" ")
        self._outside.behave("email", "refuse", phase=phase, code=int(code), text=f"{enhanced} as asked".strip())
        card_id = self._card(recipient_email=f"{reply.replace(' ', '-')}@example.com", recipient_phone=None)
        return self._seen(self._deliver(SendGiftCardEmail(gift_card_id=card_id)), reply)

    def text(self, code: int, status: int) -> Row:
        """Have an SMS refused with a code of Twilio's."""
        self._outside.behave("sms", "refuse", code=code, status=status, text="as asked")
        card_id = self._card(recipient_phone=f"+14155{500000 + code}"[:12], recipient_email=None)
        return self._seen(self._deliver(SendGiftCardSms(gift_card_id=card_id)), str(code))

    def _seen(self, job_ids: list[Any], code: str) -> Row:
        job = self._job(job_ids[0])
        (delivery,) = self._sql("SELECT * FROM deliveries WHERE gift_card_id = %s", job["gift_card_id"])
        assert self._outside.messages() == []
        assert (delivery["error_code"], delivery["attempts"][-1]["code"]) == (code, code)
        return {
            "outcome": Outcome(job["state"], job["reason"], job["attempt"], delivery["state"]),
            "class": delivery["error_class"],
            "suppressed": self._take("DELETE FROM suppressions RETURNING reason || ' ' || scope AS it"),
            "breaker": self._take("DELETE FROM breakers RETURNING code AS it"),
            "wait_s": (job["run_at"] - job["started_at"]).total_seconds(),
        }

    def _take(self, statement: str) -> str | None:
        rows = self._sql(statement)
        assert len(rows) < 2
        return rows[0]["it"] if rows else None


@pytest.fixture
def refusing(card: Issue, deliver: Deliver, outside: Outside, sql: Sql, job: JobOf) -> Refusing:
    return Refusing(card, deliver, outside, sql, job)


def expected(found: ErrorClass, code: str, suppressed: str | None) -> Row:
    breaker = code if found is ErrorClass.SENDER else None
    return {"outcome": OUTCOMES[found], "class": found.value, "suppressed": suppressed, "breaker": breaker}


def without_wait(seen: Row) -> Row:
    return {name: value for name, value in seen.items() if name != "wait_s"}


@pytest.mark.parametrize("phase", ["rcpt", "dot"])
@pytest.mark.parametrize("found", REPLIES)
def test_every_reply_of_a_relay_comes_to_what_the_table_says(found: ErrorClass, phase: str, refusing: Refusing) -> None:
    seen = {reply: refusing.mail(reply, phase) for reply in REPLIES[found]}

    assert {reply: without_wait(row) for reply, row in seen.items()} == {
        reply: expected(found, reply, "hard_bounce all" if reply in NOBODY else None) for reply in seen
    }
    assert {reply for reply, row in seen.items() if reply in WAITS and row["wait_s"] < WAITS[reply]} == set()


@pytest.mark.parametrize("found", TEXTS)
def test_every_code_of_twilio_comes_to_what_the_table_says(found: ErrorClass, refusing: Refusing) -> None:
    seen = {code: refusing.text(code, HTTP_STATUS.get(code, 400)) for code in TEXTS[found]}

    stop = {21610: f"stop from:{FROM_NUMBER}"} | dict.fromkeys(NO_PHONE, "hard_bounce all")
    assert {code: without_wait(row) for code, row in seen.items()} == {
        code: expected(found, str(code), stop.get(code)) for code in seen
    }
    assert {code for code, row in seen.items() if code in WAITS and row["wait_s"] < WAITS[code]} == set()


def test_a_code_that_nobody_knows_is_judged_by_its_http_status(refusing: Refusing) -> None:
    seen = {status: refusing.text(99000 + status, status) for status in BY_STATUS}

    assert {status: without_wait(row) for status, row in seen.items()} == {
        status: expected(found, str(99000 + status), None) for status, found in BY_STATUS.items()
    }


@pytest.mark.parametrize(
    ("phase", "replies"),
    [
        ("mail", "550; 550 5.1.0; 550 5.1.1; 550 5.7.1; 553 5.1.8; 554; 530 5.7.0; 535 5.7.8"),
        ("connect", "554; 554 5.7.1; 550 5.7.1; 521"),
    ],
)
def test_what_is_refused_before_anybody_is_named_is_about_us(phase: str, replies: str, refusing: Refusing) -> None:
    seen = {reply: without_wait(refusing.mail(reply, phase)) for reply in replies.split("; ")}

    assert seen == {reply: expected(ErrorClass.SENDER, reply, None) for reply in seen}


@pytest.mark.parametrize("phase", ["connect", "mail", "data"])
def test_what_is_refused_for_now_is_tried_again_whenever_it_is_said(phase: str, refusing: Refusing) -> None:
    seen = {reply: without_wait(refusing.mail(reply, phase)) for reply in ("421", "421 4.7.0", "451 4.3.0", "454")}

    assert seen == {reply: expected(ErrorClass.TRANSIENT, reply, None) for reply in seen}


def test_no_code_of_the_program_is_left_out_here() -> None:
    said = {reply.partition(" ")[2] for replies in REPLIES.values() for reply in replies}
    bare = {int(reply[:3]) for replies in REPLIES.values() for reply in replies}

    assert {code for codes in TEXTS.values() for code in codes} >= set(TWILIO) - {21604}
    assert [code for code in SMTP_ENHANCED if code.count(".") == 2 and code not in said] == []
    assert [code for code in SMTP_REPLY if code not in bare] == []


@pytest.mark.parametrize(("code", "tries"), [(30003, 3), (30008, 2)])
def test_a_phone_that_stays_out_of_reach_is_tried_so_often_and_then_the_mail_goes(
    code: int, tries: int, card: Issue, deliver: Deliver, outside: Outside, job: JobOf, sql: Sql
) -> None:
    outside.behave("sms", "refuse", code=code, times=None)
    asked = Envelope(SendGiftCardSms(gift_card_id=card()))

    for _ in range(tries):
        sql("UPDATE jobs SET run_at = clock_timestamp() WHERE id = %s", asked.id)
        deliver(asked)

    assert (job(asked.id)["state"], job(asked.id)["reason"], job(asked.id)["attempt"]) == (
        "failed",
        "retries_exhausted",
        tries,
    )
    assert [row["channel"] for row in sql("SELECT channel FROM deliveries WHERE state = 'queued'")] == ["email"]
