"""E-mail providers: their own sample payloads, what each means for the delivery, and who is no longer written to."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from starlette.datastructures import Headers

from services.delivery import email
from services.delivery.reports import sns
from services.delivery.reports.incoming import Incoming, Unavailable
from services.delivery.reports.postmark import reports as read_postmark
from services.delivery.reports.report import Kind
from services.delivery.reports.sendgrid import reports as read_sendgrid
from services.delivery.reports.ses import reports as read_ses
from shared.messages import hint
from shared.settings import Settings, settings
from tests.delivery.hooks import (
    ADDRESS,
    CERTIFICATE_URL,
    POSTMARK,
    RELAY_KEY,
    TOPIC,
    Hooks,
    certificate,
    relay_headers,
    sealed,
    sendgrid_headers,
    sendgrids_public_key,
    sent,
    standing,
    suppressed,
    values,
)
from tests.delivery.samples import settings_for
from tests.kinds import Issue, Setting, Sql

SES_ID = "00000137860315fd-34208509-5b74-41f3-95c5-22c1edc3c924-000000"
GONE = [("email", "all", "hard_bounce")]
SPAM = [("email", "all", "complaint")]
NO_REMINDERS = [("email", "reminders", "unsubscribe")]


def incoming(body: bytes, **headers: str) -> Incoming:
    return Incoming("/", body, Headers({n.replace("_", "-"): v for n, v in headers.items()}), settings=known())


@cache
def known() -> Settings:
    return settings_for(**{n: json.loads(v) if v[0] == "[" else v for n, v in values().items()})


def named(delivery_id: UUID) -> str:
    return email.message_id(delivery_id, settings())


# Amazon SES: the examples of "Amazon SNS notification examples for Amazon SES", with our names put in.


def ses(kind: str, *, key: str = "notificationType", **details: Any) -> dict[str, Any]:
    name = {"Bounce": "bounce", "Complaint": "complaint", "Delivery": "delivery", "DeliveryDelay": "deliveryDelay"}
    return {
        key: kind,
        name.get(kind, kind.lower()): {"timestamp": "2016-01-27T14:59:38.237Z", **details},
        "mail": {
            "timestamp": "2016-01-27T14:59:38.237Z",
            "source": "john@example.com",
            "sourceArn": "arn:aws:ses:us-east-1:888888888888:identity/example.com",
            "sourceIp": "127.0.3.0",
            "sendingAccountId": "123456789012",
            "callerIdentity": "IAM_user_or_role_name",
            "messageId": SES_ID,
            "destination": [ADDRESS],
            "headersTruncated": False,
            "headers": [{"name": "From", "value": '"John Doe" <john@example.com>'}],
            "commonHeaders": {"from": ["John Doe <john@example.com>"], "subject": "Hello"},
        },
    }


def people(**fields: str) -> list[dict[str, str]]:
    return [{"emailAddress": ADDRESS, **fields}]


BOUNCE = {
    "bounceType": "Permanent",
    "bounceSubType": "General",
    "reportingMTA": "dns; email.example.com",
    "bouncedRecipients": people(
        status="5.1.1", action="failed", diagnosticCode="smtp; 550 5.1.1 <ada@example.com>... User"
    ),
    "feedbackId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000",
    "remoteMtaIp": "127.0.2.0",
}
OOTO = {"bounceType": "Transient", "bounceSubType": "General", "bouncedRecipients": people(), "feedbackId": "o"}
FULL = {
    "bounceType": "Transient",
    "bounceSubType": "MailboxFull",
    "bouncedRecipients": people(status="5.2.2", action="failed", diagnosticCode="smtp; 552 5.2.2 full"),
    "feedbackId": "f",
}
TOO_BIG = {"bounceType": "Transient", "bounceSubType": "MessageTooLarge", "bouncedRecipients": people()}
BLOCKED = {
    "bounceType": "Permanent",
    "bounceSubType": "General",
    "bouncedRecipients": people(status="5.7.1", action="failed", diagnosticCode="smtp; 550 5.7.1 policy"),
}
ABUSE = {"complainedRecipients": people(), "complaintFeedbackType": "abuse", "feedbackId": "c"}
NOT_SPAM = ABUSE | {"complaintFeedbackType": "not-spam"}
TAKEN: dict[str, Any] = {
    "recipients": [ADDRESS],
    "processingTimeMillis": 546,
    "smtpResponse": "250 ok:  Message 64111812 accepted",
}
LATE: dict[str, Any] = {"delayType": "TransientCommunicationFailure", "delayedRecipients": people(status="4.4.1")}


@pytest.mark.parametrize("key", ["notificationType", "eventType"])
@pytest.mark.parametrize(
    ("kind", "details", "meant", "code"),
    [
        ("Bounce", BOUNCE, Kind.HARD_BOUNCE, "5.1.1"),
        ("Bounce", FULL, Kind.SOFT_BOUNCE, "5.2.2"),
        ("Bounce", OOTO, Kind.NOTHING, "General"),
        ("Bounce", TOO_BIG, Kind.FAILED, "MessageTooLarge"),
        ("Bounce", BLOCKED, Kind.FAILED, "5.7.1"),
        ("Complaint", ABUSE, Kind.COMPLAINT, None),
        ("Complaint", NOT_SPAM, Kind.NOTHING, None),
        ("Delivery", TAKEN, Kind.DELIVERED, None),
        ("DeliveryDelay", LATE, Kind.DEFERRED, "4.4.1"),
        ("Send", {}, Kind.ACCEPTED, None),
        ("Reject", {"reason": "Bad content"}, Kind.FAILED, None),
        ("Rendering Failure", {}, Kind.FAILED, None),
        ("Open", {}, Kind.NOTHING, None),
    ],
)
def test_ses_tells_what_became_of_a_mail(
    key: str, kind: str, details: dict[str, Any], meant: Kind, code: str | None
) -> None:
    envelope = json.dumps(sealed(ses(kind, key=key, **details))).encode()

    [report] = read_ses(incoming(envelope), lambda _: certificate())

    assert (report.kind, report.code, report.provider_id) == (meant, code, SES_ID)
    assert report.address == hint(ADDRESS)
    assert ADDRESS not in str(report)


def test_ses_may_tell_of_several_recipients_at_once(hooks: Hooks, sql: Sql) -> None:
    bounce: dict[str, Any] = BOUNCE | {
        "bouncedRecipients": [{"emailAddress": f"{n}@example.com", "status": "5.1.1"} for n in range(3)]
    }

    for _ in range(2):
        assert hooks.ses(ses("Bounce", **bounce)).status_code == 200

    assert suppressed(sql) == GONE * 3
    assert len(sql("SELECT FROM provider_events")) == 3


def test_ses_finds_a_delivery_by_the_message_id_that_we_gave(hooks: Hooks, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(), state="unconfirmed")
    event = ses("Delivery", **TAKEN)
    event["mail"]["headers"].append({"name": "Message-ID", "value": named(delivery_id)})

    hooks.ses(event)

    (row,) = sql("SELECT state, provider_id, settled_by FROM deliveries")
    assert tuple(row.values()) == ("delivered", SES_ID, "callback")


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_signatures_of_sns_are_known_and_its_certificate_is_fetched_once(
    hooks: Hooks, sql: Sql, version: str
) -> None:
    answers = [hooks.ses(ses("Delivery"), version=version, Subject="Amazon SES Email Event") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert hooks.fetched == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    ("wrong", "fetched"),
    [
        ({"Message": "{}"}, 1),
        ({"Timestamp": "2020-01-01T00:00:00.000Z"}, 1),
        ({"SignatureVersion": "2"}, 1),
        ({"Signature": "not base64!"}, 1),
        ({"TopicArn": TOPIC + "x"}, 0),
        ({"SigningCertURL": CERTIFICATE_URL.replace("https", "http")}, 0),
        ({"SigningCertURL": CERTIFICATE_URL.replace("amazonaws.com", "amazonaws.com.evil.example")}, 0),
        ({"SigningCertURL": CERTIFICATE_URL.replace("https://", "https://evil.example/")}, 0),
        ({"SigningCertURL": CERTIFICATE_URL.replace("sns.", "user@sns.")}, 0),
        ({"SigningCertURL": CERTIFICATE_URL.replace(".com/", ".com:8443/")}, 0),
        ({"SigningCertURL": CERTIFICATE_URL.replace(".pem", ".txt")}, 0),
        ({"SigningCertURL": "https://sns.eu-west-1.s3.amazonaws.com/my.pem"}, 0),
        ({"SigningCertURL": "https://[/x.pem"}, 0),
    ],
)
def test_an_envelope_that_was_touched_is_refused_and_fetches_nothing_from_strangers(
    hooks: Hooks, sql: Sql, wrong: dict[str, str], fetched: int
) -> None:
    envelope = sealed(ses("Delivery")) | wrong

    assert hooks.post("/email/ses", json.dumps(envelope)).status_code == 403
    assert len(hooks.fetched) == fetched
    assert sql("SELECT FROM provider_events") == []


def test_a_subscription_to_our_topic_is_confirmed(hooks: Hooks) -> None:
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f37"
    offer: dict[str, Any] = {"Type": "SubscriptionConfirmation", "Token": "2336412f37", "SubscribeURL": url}

    assert hooks.ses("You have chosen to subscribe to the topic.", **offer).status_code == 200
    assert hooks.fetched == [CERTIFICATE_URL, url]
    evil = offer | {"SubscribeURL": "https://internal.example/"}
    assert hooks.ses("You have chosen to subscribe to the topic.", **evil).status_code == 403
    assert len(hooks.fetched) == 2


def test_the_sentence_with_which_ses_greets_a_topic_is_taken(hooks: Hooks) -> None:
    answer = hooks.ses("Successfully validated SNS topic for Amazon SES event publishing.")

    assert answer.status_code == 200


def test_a_certificate_that_cannot_be_had_makes_sns_try_again() -> None:
    with pytest.raises(Unavailable):
        sns.fetch("http://127.0.0.1:9/x.pem")


# SendGrid: the examples of "Event Webhook Reference".


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


@pytest.mark.parametrize("key", ["not a key", sendgrids_public_key()[:40], "aGVsbG8="])
def test_a_key_that_is_none_shuts_the_door(hooks: Hooks, setting: Setting, key: str) -> None:
    setting(sendgrid_public_key=key)

    assert hooks.sendgrid([]).status_code == 403


def test_one_changed_byte_is_noticed(hooks: Hooks) -> None:
    body = b'[{"event": "open"}]'
    headers = sendgrid_headers(body)

    assert hooks.post("/email/sendgrid", body, headers=headers).status_code == 200
    assert hooks.post("/email/sendgrid", body.replace(b"open", b"drop"), headers=headers).status_code == 403


# Postmark: the examples of "Bounce webhook", "Delivery webhook", "Spam complaint webhook", "Subscription change
# webhook".


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


# Any other relay.


@pytest.mark.parametrize(
    ("kind", "code", "state", "reason", "stopped"),
    [
        ("accepted", None, "sent", None, []),
        ("deferred", "4.2.0", "sent", None, []),
        ("delivered", None, "delivered", None, []),
        ("failed", "5.6.0", "failed", "failed", []),
        ("soft_bounce", "5.2.2", "bounced", "soft_bounce", []),
        ("hard_bounce", "5.1.1", "bounced", "hard_bounce", GONE),
        ("complaint", None, "delivered", None, SPAM),
        ("unsubscribe", None, "sent", None, NO_REMINDERS),
    ],
)
def test_another_relay_tells_it_in_our_form(
    hooks: Hooks, card: Issue, sql: Sql, kind: str, code: str | None, state: str, reason: str | None, stopped: list[Any]
) -> None:
    delivery_id = sent(sql, card())

    answer = hooks.relay({"kind": kind, "message_id": named(delivery_id), "email": ADDRESS, "code": code})

    assert answer.status_code == 200
    assert standing(sql, delivery_id) == (state, reason)
    assert suppressed(sql) == stopped


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"kind": "bounced", "email": ADDRESS}, "events.0.kind: literal_error"),
        ({"email": ADDRESS}, "events.0.kind: missing"),
        ({"kind": "delivered"}, "an event needs message_id, provider_id or email"),
    ],
)
def test_another_relay_is_told_what_is_wrong(hooks: Hooks, event: dict[str, Any], says: str) -> None:
    answer = hooks.relay(event)

    assert answer.status_code == 400
    assert says in answer.text
    assert ADDRESS not in answer.text


def test_a_post_that_was_signed_six_minutes_ago_is_a_replay(hooks: Hooks) -> None:
    body = b'{"events": []}'
    old = relay_headers(body, time.time() - 360)

    assert hooks.post("/email/events", body, headers=old).status_code == 403
    assert hooks.post("/email/events", body, headers=relay_headers(body)).status_code == 200
    assert RELAY_KEY not in str(old)


def test_a_bounce_of_an_unknown_mail_still_stops_mail_to_its_address(hooks: Hooks, sql: Sql) -> None:
    hooks.relay({"kind": "hard_bounce", "provider_id": "never-seen", "email": ADDRESS.upper()})

    assert suppressed(sql) == GONE
    (row,) = sql("SELECT applied_at FROM provider_events")
    assert row["applied_at"] is None
