"""What SendGrid tells, by the examples of its page "Event Webhook Reference"."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from services.delivery.reports.report import Kind
from services.delivery.reports.sendgrid import reports as read_sendgrid
from shared.messages import hint
from tests.delivery.hooks import (
    ADDRESS,
    Hooks,
    incoming,
    named,
    sendgrid_headers,
    sent,
    standing,
)
from tests.kinds import Issue, Setting, Sql


def sendgrid(event: str, **fields: Any) -> dict[str, Any]:
    return {
        "email": ADDRESS,
        "timestamp": 1513299569,
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "event": event,
        "category": ["cat facts"],
        "sg_event_id": f"{event}{len(str(fields))}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        **fields,
    }


@pytest.mark.parametrize(
    ("event", "meant"),
    [
        (sendgrid("processed"), Kind.ACCEPTED),
        (sendgrid("deferred", response="400 try again later", attempt="5"), Kind.DEFERRED),
        (sendgrid("delivered", response="250 OK"), Kind.DELIVERED),
        (sendgrid("bounce", reason="500 unknown recipient", status="5.0.0", type="bounce"), Kind.HARD_BOUNCE),
        (sendgrid("bounce", reason="550 5.1.1 no", status="5.1.1", type="bounce"), Kind.HARD_BOUNCE),
        (sendgrid("bounce", reason="552 5.2.2 full", status="5.2.2", type="bounce"), Kind.SOFT_BOUNCE),
        (sendgrid("bounce", reason="busy", status="4.0.0", type="blocked"), Kind.SOFT_BOUNCE),
        (sendgrid("bounce", reason="550 5.7.1 spam", status="5.7.1", type="blocked"), Kind.FAILED),
        (sendgrid("dropped", reason="Bounced Address", status="5.0.0"), Kind.HARD_BOUNCE),
        (sendgrid("dropped", reason="Spam Content", status="5.0.0"), Kind.FAILED),
        (sendgrid("spamreport"), Kind.COMPLAINT),
        (sendgrid("unsubscribe"), Kind.UNSUBSCRIBE),
        (sendgrid("group_unsubscribe", asm_group_id=10), Kind.UNSUBSCRIBE),
        (sendgrid("group_resubscribe", asm_group_id=10), Kind.NOTHING),
        (sendgrid("open", useragent="Mozilla/4.0", ip="255.255.255.255"), Kind.NOTHING),
        (sendgrid("click", url="https://www.sendgrid.com/"), Kind.NOTHING),
    ],
)
def test_sendgrid_tells_what_became_of_a_mail(event: dict[str, Any], meant: Kind) -> None:
    body = json.dumps([event]).encode()

    [report] = read_sendgrid(incoming(body, **sendgrid_headers(body)))

    assert (report.kind, report.provider_id, report.address) == (meant, "14c5d75ce93.dfd.64b469", hint(ADDRESS))
    assert report.occurred_at == datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)
    assert ADDRESS not in str(report)


def test_sendgrid_finds_a_delivery_by_its_message_id_in_a_batch_of_others(hooks: Hooks, card: Issue, sql: Sql) -> None:
    one, other = sent(sql, card()), sent(sql, card())

    hooks.sendgrid([sendgrid("delivered", **{"smtp-id": named(id_), "sg_event_id": str(id_)}) for id_ in (one, other)])

    assert [standing(sql, id_)[0] for id_ in (one, other)] == ["delivered", "delivered"]


@pytest.mark.parametrize("age_s", [26 * 3600, -26 * 3600])
def test_a_post_of_sendgrid_from_another_day_is_refused(hooks: Hooks, age_s: float) -> None:
    assert hooks.sendgrid([], time.time() - age_s).status_code == 403
    assert hooks.sendgrid([], time.time() - 20 * 3600).status_code == 200  # it tries for a day


@pytest.mark.parametrize("key", ["not a key", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "aGVsbG8="])
def test_a_key_that_is_none_shuts_the_door(hooks: Hooks, setting: Setting, key: str) -> None:
    setting(sendgrid_public_key=key)

    assert hooks.sendgrid([]).status_code == 403


def test_one_changed_byte_is_noticed(hooks: Hooks) -> None:
    body = b'[{"event": "open"}]'
    headers = sendgrid_headers(body)

    assert hooks.post("/email/sendgrid", body, headers=headers).status_code == 200
    assert hooks.post("/email/sendgrid", body.replace(b"open", b"drop"), headers=headers).status_code == 403
