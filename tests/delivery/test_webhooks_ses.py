"""What Amazon SES tells, by the examples of its pages, and whose word is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.delivery.reports import sns
from services.delivery.reports.incoming import Unavailable
from services.delivery.reports.report import Kind
from services.delivery.reports.ses import reports as read_ses
from shared.messages import hint
from tests.delivery.hooks import (
    ADDRESS,
    CERTIFICATE_URL,
    TOPIC,
    Hooks,
    certificate,
    incoming,
    named,
    sealed,
    sent,
    suppressed,
)
from tests.kinds import Issue, Sql

SES_ID = "00000137860315fd-34208509-5b74-41f3-95c5-22c1edc3c924-000000"

GONE = [("email", "all", "hard_bounce")]


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
