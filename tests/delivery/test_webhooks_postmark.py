"""What Postmark tells, by the examples of its pages about webhooks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from services.delivery.reports.postmark import reports as read_postmark
from services.delivery.reports.report import Kind
from shared.messages import hint
from tests.delivery.hooks import (
    ADDRESS,
    POSTMARK,
    Hooks,
    incoming,
    sent,
    standing,
)
from tests.kinds import Issue, Sql


def postmark(record: str, **fields: Any) -> dict[str, Any]:
    return {
        "RecordType": record,
        "MessageStream": "outbound",
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "ServerID": 23,
        "Tag": "welcome-email",
        "Metadata": {"a_key": "a_value", "b_key": "b_value"},
        **fields,
    }


def bounce(kind: str, details: str = "Test bounce details") -> dict[str, Any]:
    return postmark(
        "Bounce",
        ID=4323372036854775807,
        Type=kind,
        TypeCode=1,
        Name="Hard bounce",
        Description="The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        Details=details,
        Email=ADDRESS,
        From="sender@example.com",
        BouncedAt="2019-11-05T16:33:54.9070259Z",
        DumpAvailable=True,
        Inactive=True,
        CanActivate=True,
        Subject="Test subject",
        Content="<Full dump of bounce>",
    )


CHANGED = {"Recipient": ADDRESS, "SuppressSending": True, "ChangedAt": "2020-02-01T10:53:34.416071Z"}


@pytest.mark.parametrize(
    ("record", "meant"),
    [
        (postmark("Delivery", Recipient=ADDRESS, DeliveredAt="2019-11-05T16:33:54.9070259Z"), Kind.DELIVERED),
        (bounce("HardBounce"), Kind.HARD_BOUNCE),
        (bounce("BadEmailAddress"), Kind.HARD_BOUNCE),
        (bounce("HardBounce", "smtp;550 5.7.1 policy"), Kind.FAILED),
        (bounce("SoftBounce"), Kind.SOFT_BOUNCE),
        (bounce("Transient"), Kind.DEFERRED),
        (bounce("AutoResponder"), Kind.NOTHING),
        (bounce("SpamNotification"), Kind.FAILED),
        (bounce("SpamComplaint"), Kind.COMPLAINT),
        (postmark("SpamComplaint", ID=42, Type="SpamComplaint", Email=ADDRESS), Kind.COMPLAINT),
        (postmark("SubscriptionChange", SuppressionReason="ManualSuppression", **CHANGED), Kind.UNSUBSCRIBE),
        (postmark("SubscriptionChange", SuppressionReason="HardBounce", **CHANGED), Kind.HARD_BOUNCE),
        (postmark("SubscriptionChange", **(CHANGED | {"SuppressSending": False})), Kind.NOTHING),
        (postmark("Open", Recipient=ADDRESS, FirstOpen=True), Kind.NOTHING),
    ],
)
def test_postmark_tells_what_became_of_a_mail(record: dict[str, Any], meant: Kind) -> None:
    basic = "Basic " + base64.b64encode(POSTMARK.encode()).decode()

    [report] = read_postmark(incoming(json.dumps(record).encode(), Authorization=basic))

    assert (report.kind, report.provider_id) == (meant, "883953f4-6105-42a2-a16a-77a8eac79483")
    assert report.address == hint(ADDRESS)
    assert ADDRESS not in str(report)


def test_postmark_finds_a_delivery_by_the_metadata_that_we_gave(hooks: Hooks, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card())

    hooks.postmark(postmark("Delivery", Metadata={"delivery_id": str(delivery_id)}))

    assert standing(sql, delivery_id) == ("delivered", None)


def test_postmark_may_carry_its_secret_in_a_header(hooks: Hooks) -> None:
    body = json.dumps(postmark("Open"))

    assert hooks.post("/email/postmark", body, headers={"X-Webhook-Secret": "postmark:p4ssword"}).status_code == 200
    assert hooks.post("/email/postmark", body, headers={"X-Webhook-Secret": "postmark:password"}).status_code == 403
    assert hooks.post("/email/postmark", body, auth=("postmark", "wrong")).status_code == 403
