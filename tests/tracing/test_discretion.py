"""Nothing personal gets into a span, whatever goes wrong."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from opentelemetry import trace

import services.delivery.actors  # noqa: F401  # registers the actors
from shared import db
from shared.messages import DeliverGiftCard, SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.canaries import CODE, EMAIL, NAME, PHONE, WORDS, secrets, song
from tests.conftest import CODE_KEY
from tests.kinds import Deliver, Issue, Sql
from tests.outside import Outside
from tests.tracing.conftest import Seen


def bird(card: Issue) -> UUID:
    own: dict[str, Any] = {
        **secrets(CODE_KEY),
        "recipient_name": NAME,
        "sender_name": f"Aunt {NAME}",
        "personal_message": WORDS,
        "recipient_email": EMAIL,
        "recipient_phone": PHONE,
    }
    return card(**own)


def text(seen: Seen) -> str:
    return "\n".join(span.to_json() for span in seen.all())


def test_spans_of_mails_and_texts_that_go_well_and_badly_hold_no_word_of_a_card(
    seen: Seen, deliver: Deliver, outside: Outside, card: Issue, sql: Sql
) -> None:
    deliver(DeliverGiftCard(gift_card_id=bird(card), method="both"))
    deliver(SendGiftCardEmail(gift_card_id=bird(card), recipient_email=EMAIL))
    deliver(SendGiftCardSms(gift_card_id=bird(card), recipient_phone=PHONE))
    outside.behave("email", "refuse", phase="dot", code=451, text=f"4.3.0 {EMAIL} said {WORDS} {CODE}")
    outside.behave("sms", "cut", to=PHONE)
    unknown = Envelope(SendGiftCardSms(gift_card_id=bird(card)))
    deliver(SendGiftCardEmail(gift_card_id=bird(card)), unknown)
    sql("UPDATE jobs SET run_at = clock_timestamp() WHERE id = %s", unknown.id)
    deliver(unknown)  # it asks Twilio about the number now

    said = text(seen)
    assert len(seen.named("SMTP")) == 2
    assert {span.name for span in seen.all()} >= {"POST", "GET", "process email-delivery", "WITH", "SELECT"}
    assert CODE in outside.messages("email")[0]["raw"]
    assert song(said) == ""


@pytest.mark.parametrize("statement", ["SELECT %s::integer", "SELECT CAST(%s AS uuid)"])
def test_a_statement_that_fails_shows_neither_its_parameters_nor_what_the_database_says(
    statement: str, seen: Seen, database: str
) -> None:
    def fail() -> None:
        with trace.get_tracer("test").start_as_current_span("job"), db.transaction() as connection:
            connection.execute(statement, (EMAIL,))

    with pytest.raises(psycopg.Error, match=EMAIL):
        fail()

    (span,) = seen.named("SELECT")
    assert not span.status.is_ok
    assert song(text(seen)) == ""
