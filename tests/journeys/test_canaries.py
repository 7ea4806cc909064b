"""A card's whole life, with all that can go wrong in it: nothing personal gets into a log, a queue, a row or a page."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pika
import pytest
import requests

from shared.messages import (
    DeliverGiftCard,
    ExpireGiftCard,
    ResendGiftCard,
    SendExpiryReminder,
    SendGiftCardEmail,
    SendGiftCardSms,
)
from shared.packets import Packet
from shared.publisher import Publisher
from shared.topology import lanes
from tests.canaries import CODE, EMAIL, NAME, PHONE, WORDS, secrets, song
from tests.conftest import CODE_KEY
from tests.console.conftest import Cli
from tests.delivery.hooks import Hooks, named, values
from tests.kinds import Eventually, Issue, Setting, Sql, StartProcess
from tests.outside import Outside

SERVICES = ("scheduler", "delivery", "expiry", "cleanup")
ENV = {
    "JOBS_LOG_LEVEL": "DEBUG",
    "JOBS_BACKOFF_S": json.dumps({"send_gift_card_email": [0.2], "send_gift_card_sms": [0.2]}),
    "JOBS_UNKNOWN_MESSAGE_GRACE_S": "2",
    "JOBS_UNKNOWN_CARD_GRACE_S": "0",
}
BROKEN = [
    "retries_exhausted",
    "recipient",
    "invalid",
    "undecodable",
    "unknown_message",
    "wrong_queue",
    "card_not_found",
]
OPEN = "SELECT FROM jobs WHERE state IN ('scheduled', 'queued', 'running')"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'gift_cards'"


def email(n: int) -> str:
    return EMAIL.replace("@", f".{n}@")


def phone(n: int) -> str:
    return f"{PHONE[:-2]}{60 + n}"


@pytest.fixture
def bird(card: Issue) -> Callable[..., UUID]:
    """Issue a card whose fields are canaries, with addresses of its own: ``bird(3)``."""

    def issue(n: int, **fields: Any) -> UUID:
        own: dict[str, Any] = {
            **secrets(CODE_KEY),
            "recipient_name": NAME,
            "sender_name": f"Aunt {NAME}",
            "personal_message": WORDS,
            "recipient_email": email(n),
            "recipient_phone": phone(n),
            "purchaser_email": f"payer.{EMAIL}",
        }
        return card(**own | fields)

    return issue


def bodies(card_id: UUID) -> list[bytes]:
    """Give what no sender should send: addresses, names and words where ids belong, and as names of fields."""
    whole = {"specversion": "1.0", "source": "checkout", "type": "send_gift_card_email"}
    data = {"gift_card_id": str(card_id), "recipient_email": f"{NAME} <{EMAIL}", "note": WORDS, EMAIL: NAME}
    documents: list[object] = [
        whole | {"id": str(uuid4()), "data": data},
        whole | {"id": EMAIL, "data": {"gift_card_id": EMAIL}},
        whole | {"id": str(uuid4()), "type": EMAIL, "data": data},
        whole | {"id": str(uuid4()), "type": "expire_gift_card", "data": {"gift_card_id": str(card_id), "to": EMAIL}},
        whole | {"id": str(uuid4()), "type": "send_gift_card_fax", "data": {"to": EMAIL, "by": PHONE}},
        {"actor_name": "send_gift_card_email", "kwargs": {}, "message_id": "1", EMAIL: NAME},
        {"actor_name": "send_gift_card_email", "args": [EMAIL], "kwargs": data, "message_id": "2"},
        [NAME, EMAIL, PHONE, WORDS, CODE],
    ]
    return [
        *(json.dumps(one).encode() for one in documents),
        f"no JSON: {NAME} {EMAIL} {PHONE} {WORDS} {CODE}".encode(),
    ]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    def ours() -> str:
        """Leave out the stand-in and the posting client of this process, and the log of paths, which is off outside."""
        records = [
            record for record in caplog.records if not record.name.startswith(("mail.", "urllib3", "uvicorn.access"))
        ]
        return "\n".join(f"{record.getMessage()} {record.exc_info}" for record in records)

    with caplog.at_level(logging.DEBUG):
        yield lambda: ours() + "".join(capfd.readouterr())


def test_nothing_personal_gets_out_of_a_card(
    process: StartProcess,
    publisher: Publisher,
    outside: Outside,
    setting: Setting,
    hooks: Hooks,
    bird: Callable[..., UUID],
    sql: Sql,
    cli: Cli,
    rabbitmq: str,
    eventually: Eventually,
    tmp_path: Path,
    logged: Callable[[], str],
) -> None:
    setting(**values())
    queue = _listen(rabbitmq)
    for service in SERVICES:
        process(service, **ENV)

    def settled(*ids: UUID) -> bool:
        known = sql("SELECT count(*) AS n FROM jobs WHERE id = ANY(%s)", list(ids))[0]["n"]
        return known == len(ids) and not sql(OPEN)

    good, refused, slow = bird(1, expires_on=date.today() + timedelta(days=5)), bird(2), bird(3)
    outside.behave("email", "refuse", phase="rcpt", to=email(2), code=550, text=f"5.1.1 <{email(2)}> {NAME}: unknown")
    outside.behave("sms", "refuse", to=phone(2), code=21211, text=f"The number {phone(2)} of {NAME} is not valid")
    outside.behave("email", "refuse", phase="dot", to=email(3), code=451, text=f"4.3.0 {email(3)} said {WORDS} {CODE}")
    outside.behave("sms", "refuse", to=phone(3), status=503, code=20503, text=f"{phone(3)} {CODE} later")
    long = {"code_encrypted": secrets(CODE_KEY)["code_encrypted"].replace("=", "")}  # no key opens what is left
    crash = _too_long_a_code()
    ids = publisher.send_many(
        [
            DeliverGiftCard(gift_card_id=good, method="both"),
            DeliverGiftCard(gift_card_id=refused, method="both"),
            SendGiftCardEmail(gift_card_id=slow, recipient_email=email(3)),
            SendGiftCardSms(gift_card_id=slow, recipient_phone=phone(3)),
            SendGiftCardEmail(gift_card_id=bird(4, **crash)),
            SendGiftCardSms(gift_card_id=bird(5, **long)),
            SendGiftCardEmail(gift_card_id=bird(6, recipient_email=f"{NAME}, nowhere")),
            SendGiftCardSms(gift_card_id=bird(7, recipient_phone=f"{PHONE} or so")),
            ExpireGiftCard(gift_card_id=bird(8, expired=True)),
            SendGiftCardEmail(gift_card_id=uuid4(), recipient_email=EMAIL),
        ]
    )
    eventually(lambda: settled(*ids))
    for target in ("email-delivery", "email-delivery.urgent"):
        publisher.publish([Packet(target, body, str(uuid4())) for body in bodies(good)])
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'rejected' AND source = 'amqp'")) >= len(bodies(good)))
    ids.append(publisher.send(SendExpiryReminder(gift_card_id=good, days_before=7, recipient_email=email(1))))
    ids.append(publisher.send(SendExpiryReminder(gift_card_id=slow, days_before=7, recipient_email=EMAIL)))
    ids.append(publisher.send(ResendGiftCard(gift_card_id=slow, method="sms", requested_by="ada", reason="asked")))
    eventually(lambda: settled(*ids))
    _report(hooks, sql)
    _dead_letter(rabbitmq, good)
    eventually(settled)
    eventually(lambda: not sql("SELECT FROM events WHERE published_at IS NULL"))

    mails = [mail["raw"] for mail in outside.messages("email")]
    assert any(CODE in raw for raw in mails), "the birds were there"
    assert {row["reason"] for row in sql("SELECT DISTINCT reason FROM jobs")} >= set(BROKEN)
    texts = {
        **{f"log of {name}": (tmp_path / f"{name}.log").read_text() for name in SERVICES},
        **{f"metrics of {name}": page for name, page in _metrics(tmp_path)},
        **{f"row of {t['tablename']}": _rows(sql, t["tablename"]) for t in sql(TABLES)},
        **{f"queue {name}": _read(rabbitmq, name) for name in [*lanes(), *(f"{q}.XQ" for q in lanes()), queue]},
        **{f"console {words}": said for words, said in _console(cli, sql, good, refused)},
        "webhooks": logged(),
    }
    assert {f"metrics of {name}" for name in SERVICES} <= texts.keys()
    assert len(texts["row of jobs"]) > 1000
    assert "Traceback" not in "".join(texts.values())
    assert {place: _around(text) for place, text in texts.items() if song(text)} == {}


def _around(text: str) -> str:
    at = text.lower().index(song(text).lower())
    return text[max(0, at - 150) : at + 50]


def _too_long_a_code() -> dict[str, str]:
    """Give a code that no QR code can hold, which crashes whoever draws it."""
    from cryptography.fernet import Fernet

    return {"code_encrypted": Fernet(CODE_KEY).encrypt(f"{CODE} {NAME} ".encode() * 300).decode()}


def _listen(url: str) -> str:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("facts")
        channel.queue_bind("facts", "giftcards.events", "#")
    return "facts"


def _report(hooks: Hooks, sql: Sql) -> None:
    """Let every provider say something about our deliveries, with all it knows, and strangers, too."""
    mailed = sql("SELECT id FROM deliveries WHERE channel = 'email' AND state = 'sent' ORDER BY created_at")[0]["id"]
    texted = sql("SELECT id, provider_id FROM deliveries WHERE channel = 'sms' AND state = 'sent'")[0]
    answers = [
        hooks.status(texted["id"], "undelivered", sid=texted["provider_id"], code=30005, To=phone(1), Body=WORDS),
        hooks.text(f"STOP, says {NAME} {EMAIL} {CODE}", From=phone(1)),
        hooks.sendgrid(
            [
                {"event": "bounce", "email": email(1), "reason": f"550 <{email(1)}> {NAME}", "sg_event_id": "1"},
                {"event": "open", "email": EMAIL, "useragent": WORDS, "sg_event_id": EMAIL, "timestamp": 1},
            ]
        ),
        hooks.postmark({"RecordType": "Bounce", "Type": "HardBounce", "Email": EMAIL, "Details": NAME, "ID": 7}),
        hooks.ses(
            {
                "eventType": "Bounce",
                "mail": {"messageId": "m", "destination": [email(1)], "headers": [{"name": "To", "value": EMAIL}]},
                "bounce": {
                    "bounceType": "Permanent",
                    "bouncedRecipients": [{"emailAddress": email(1), "diagnosticCode": f"550 {email(1)} {WORDS}"}],
                },
            }
        ),
        hooks.relay({"kind": "hard_bounce", "message_id": named(mailed), "email": email(1), "at": "now", "id": EMAIL}),
        hooks.post("/twilio/inbound", {"Body": WORDS, "From": PHONE}),
        hooks.post("/email/sendgrid", json.dumps([{"email": EMAIL}])),
        hooks.post("/email/postmark", EMAIL, auth=(EMAIL, WORDS)),
        hooks.get(f"/unsubscribe/{EMAIL}"),
        hooks.get(f"/{EMAIL}"),
    ]
    assert {answer.status_code for answer in answers} <= {200, 400, 403, 404}
    assert not song("".join(answer.text for answer in answers))


def _dead_letter(url: str, card_id: UUID) -> None:
    """Let the broker give up on a message about a bird, as it does beyond its delivery limit."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("to-give-up", arguments={"x-dead-letter-exchange": "", **_to("email-delivery.XQ")})
        body = json.dumps({"type": "send_gift_card_email", "data": {"gift_card_id": str(card_id)}})
        channel.basic_publish("", "to-give-up", body.encode())
        while (got := channel.basic_get("to-give-up"))[0] is None:
            time.sleep(0.05)
        channel.basic_reject(got[0].delivery_tag, requeue=False)


def _to(queue: str) -> dict[str, str]:
    return {"x-dead-letter-routing-key": queue}


def _metrics(logs: Path) -> Iterator[tuple[str, str]]:
    for name in SERVICES:
        for line in (logs / f"{name}.log").read_text().splitlines():
            if found := re.search(r'"port": (\d+), "event": "listening"', line):
                yield name, requests.get(f"http://127.0.0.1:{found.group(1)}/metrics", timeout=10).text


def _rows(sql: Sql, table: str) -> str:
    return "\n".join(row["row"] for row in sql(f'SELECT t::text AS row FROM "{table}" t'))


def _read(url: str, queue: str) -> str:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        said = []
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            said.append(f"{got[1]} {got[2]!r}")
    return "\n".join(said)


def _console(cli: Cli, sql: Sql, *cards: UUID) -> Iterator[tuple[str, str]]:
    jobs = sql("SELECT id FROM jobs")
    commands = [
        *[(name,) for name in ("counts", "jobs", "failed", "rejected", "deliveries", "suppressions", "breakers")],
        *[(name,) for name in ("brake", "forecast", "schedule", "invariants")],
        *[("story", card) for card in cards],
        *[("job", row["id"]) for row in jobs],
    ]
    for words in commands:
        for form in ((), ("--json",)) if words[0] != "job" else (("--json",),):
            done = cli(*words, *form)
            assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
            yield " ".join(map(str, (*words, *form))), done.output
