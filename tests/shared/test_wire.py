"""How messages look on the wire, in and out."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadMessage
from shared.messages import (
    MAX_BODY_BYTES,
    MESSAGES,
    DeliverGiftCard,
    ExpireGiftCard,
    Message,
    Priority,
    SendExpiryReminder,
    SendGiftCardEmail,
    SendGiftCardSms,
    hint,
)
from shared.wire import Envelope, decode

CARD = uuid4()
ADDRESS = "Ada.Lovelace@example.com"
PHONE = "+14155550123"


def event(**changes: Any) -> dict[str, Any]:
    """Give a whole CloudEvent as a JSON object; None takes an attribute away."""
    whole = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "checkout",
        "type": "expire_gift_card",
        "data": {"gift_card_id": str(CARD)},
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def read(document: object, headers: dict[str, Any] | None = None) -> Envelope:
    return decode(json.dumps(document).encode(), headers)


def refusal(document: object) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        read(document)
    return caught.value


@pytest.mark.parametrize("priority", list(Priority))
def test_what_is_encoded_is_decoded_again(priority: Priority) -> None:
    sent = Envelope(
        SendExpiryReminder(gift_card_id=CARD, days_before=30, expiry_version=2),
        run_at=datetime(2026, 12, 25, 8, tzinfo=UTC),
        priority=priority,
        dedupe_key="reminder:1",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        source="orders",
    )

    assert decode(sent.encode()) == sent


def test_a_document_is_a_cloud_event_that_any_library_reads() -> None:
    document = json.loads(Envelope(ExpireGiftCard(gift_card_id=CARD), source="orders").encode())

    assert document["specversion"] == "1.0"
    assert document["type"] == "expire_gift_card"
    assert document["source"] == "orders"
    assert document["datacontenttype"] == "application/json"
    assert document["data"] == {"gift_card_id": str(CARD)}
    assert datetime.fromisoformat(document["time"]).tzinfo
    assert all(name.isalnum() and name.islower() for name in document), "CloudEvents allow a-z and 0-9 in names"


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_"])
def test_attributes_may_come_as_headers_beside_bare_data(prefix: str) -> None:
    attributes = event(priority="10", dedupekey="k", runat="2026-12-25T09:00:00+01:00")
    data = attributes.pop("data")

    envelope = read(data, {f"{prefix}{name}": value for name, value in attributes.items()})

    assert envelope.message == ExpireGiftCard(gift_card_id=CARD)
    assert envelope.id == UUID(attributes["id"])
    assert (envelope.priority, envelope.dedupe_key) == (Priority.URGENT, "k")
    assert envelope.run_at == datetime(2026, 12, 25, 8, tzinfo=UTC)


def test_dramatiqs_own_json_is_read_and_its_queue_and_options_are_dropped() -> None:
    message_id = str(uuid4())

    envelope = read(
        {
            "queue_name": "somebody-elses",
            "actor_name": "send_gift_card_sms",
            "args": [],
            "kwargs": {"gift_card_id": str(CARD)},
            "options": {"max_retries": "3", "eta": 1, "pipe_target": {"actor_name": "evil"}},
            "message_id": message_id,
            "message_timestamp": 1_700_000_000_000,
        }
    )

    assert envelope == Envelope(SendGiftCardSms(gift_card_id=CARD), id=UUID(message_id), source="dramatiq")
    assert envelope.routing_key == "sms-delivery"


def test_options_that_are_null_do_not_matter() -> None:
    document = {"actor_name": "expire_gift_card", "kwargs": {"gift_card_id": str(CARD)}, "options": None}

    assert read(document | {"message_id": str(uuid4())}).message == ExpireGiftCard(gift_card_id=CARD)


def test_a_field_of_dramatiqs_json_that_is_named_after_somebody_is_not_repeated() -> None:
    error = refusal({"actor_name": "expire_gift_card", "kwargs": {}, "message_id": "1", ADDRESS: 1, "surprise": 1})

    assert "no field 'surprise'" in error.detail
    assert ADDRESS not in error.detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"args": [str(CARD)]}, "args: send keyword arguments"),
        ({"surprise": 1}, "no field 'surprise'"),
        ({"kwargs": None}, "data: "),
        ({"message_id": None}, "id: "),
    ],
)
def test_dramatiqs_json_that_is_wrong_says_where(change: dict[str, Any], reason: str) -> None:
    document = {"actor_name": "expire_gift_card", "kwargs": {"gift_card_id": str(CARD)}, "message_id": "1"}

    error = refusal(document | change)

    assert error.reason == "invalid"
    assert reason in error.detail


def test_the_seeds_camel_case_is_read() -> None:
    delivery = read(event(type="deliver_gift_card", data={"giftCardId": str(CARD), "deliveryMethod": "both"}))
    mail = read(
        event(
            type="send_gift_card_email",
            data={"giftCardId": str(CARD), "recipientEmail": ADDRESS, "templateId": "birthday"},
        )
    )
    reminder = read(event(type="send_expiry_reminder", data={"giftCardId": str(CARD), "daysBefore": 30}))

    assert delivery.message == DeliverGiftCard(gift_card_id=CARD, method="both")
    assert mail.message == SendGiftCardEmail(gift_card_id=CARD, recipient_email=ADDRESS, template_id="birthday")
    assert reminder.message == SendExpiryReminder(gift_card_id=CARD, days_before=30)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (10, Priority.URGENT),
        (99, Priority.URGENT),
        ("10", Priority.URGENT),
        ("urgent", Priority.URGENT),
        (5, Priority.NORMAL),
        (0, Priority.NORMAL),
        (None, Priority.NORMAL),
        (1, Priority.BULK),
        ("bulk", Priority.BULK),
    ],
)
def test_the_seeds_priorities_mean_higher_first(given: object, meant: Priority) -> None:
    assert read(event() | {"priority": given}).priority is meant


@pytest.mark.parametrize("given", ["soon", "", True, 2.5, [], {}, "１０"])
def test_another_priority_is_refused(given: object) -> None:
    assert refusal(event(priority=given)).detail.startswith("priority: ")


def test_urgent_messages_have_a_queue_of_their_own() -> None:
    message = ExpireGiftCard(gift_card_id=CARD)

    keys = [Envelope(message, priority=priority).routing_key for priority in Priority]

    assert keys == ["gift-card-expiry.urgent", "gift-card-expiry", "gift-card-expiry"]


def test_a_delivery_for_later_waits_for_its_instant() -> None:
    at = event(type="deliver_gift_card", data={"gift_card_id": str(CARD), "method": "email"})
    at["data"]["deliver_at"] = "2026-12-25T09:00:00+01:00"

    assert read(at).run_at == datetime(2026, 12, 25, 8, tzinfo=UTC)


def test_a_delivery_for_nine_where_she_lives_waits_for_that() -> None:
    local = event(type="deliver_gift_card", data={"gift_card_id": str(CARD), "method": "sms"})
    local["data"] |= {"deliver_local": "2026-12-25T09:00", "deliver_tz": "America/New_York"}

    assert read(local).run_at == datetime(2026, 12, 25, 14, tzinfo=UTC)


def test_a_messages_own_run_at_is_overruled_by_its_envelopes() -> None:
    both = event(type="deliver_gift_card", runat="2026-12-24T12:00:00Z")
    both["data"] |= {"method": "email", "deliver_at": "2026-12-25T12:00:00Z"}

    assert read(both).run_at == datetime(2026, 12, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"method": "pigeon"}, "method: "),
        ({}, "method: "),
        ({"method": "email", "gift_card_id": "42"}, "gift_card_id: "),
        ({"method": "email", "deliver_at": "2026-12-25T09:00:00"}, "deliver_at: "),
        ({"method": "email", "deliver_at": "tomorrow"}, "deliver_at: "),
        ({"method": "email", "deliver_at": "0001-01-01T00:00:00+14:00"}, "outside the years"),
        ({"method": "email", "deliver_at": "9999-12-31T23:59:59-14:00"}, "outside the years"),
        ({"method": "email", "deliver_local": "2026-12-25T09:00"}, "go together"),
        ({"method": "email", "deliver_tz": "Europe/Berlin"}, "go together"),
        ({"method": "email", "deliver_local": "2026-12-25T09:00Z", "deliver_tz": "Europe/Berlin"}, "wall-clock time"),
        ({"method": "email", "deliver_local": "2026-12-25T09:00", "deliver_tz": "Mars/Phobos"}, "unknown time zone"),
        ({"method": "email", "deliver_local": "2026-12-25T09:00", "deliver_tz": "EST"}, "unknown time zone"),
        ({"method": "email", "deliver_local": "0001-01-01T00:00", "deliver_tz": "Asia/Tokyo"}, "outside the years"),
        (
            {"method": "email", "deliver_at": "2026-12-25T09:00:00Z", "deliver_local": "2026-12-25T09:00"},
            "not both",
        ),
    ],
)
def test_a_wrong_delivery_says_what_to_mend(fields: dict[str, Any], says: str) -> None:
    error = refusal(event(type="deliver_gift_card", data={"gift_card_id": str(CARD)} | fields))

    assert error.reason == "invalid"
    assert says in error.detail


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": ""}, "id: "),
        ({"id": "a\0b"}, "id: "),
        ({"id": None}, "id: "),
        ({"source": "\ud800"}, "source: "),
        ({"source": None}, "source: "),
        ({"type": None}, "type: "),
        ({"type": "ada@example.com"}, "type: "),
        ({"data": [1]}, "data: "),
        ({"dedupekey": "k" * 201}, "dedupekey: "),
        ({"traceparent": "00-1-2-3"}, "traceparent: "),
        ({"runat": "2026-12-25T09:00:00"}, "runat: "),
        ({"runat": "0001-01-01T00:00:00+14:00"}, "runat: "),
    ],
)
def test_a_wrong_attribute_is_named(change: dict[str, Any], says: str) -> None:
    error = refusal({k: v for k, v in (event() | change).items() if v is not None})

    assert error.reason == "invalid"
    assert error.detail.startswith(says)


def test_unknown_fields_and_attributes_are_ignored() -> None:
    document = event(color="blue", data={"gift_card_id": str(CARD), "note": "new in the next version"})

    assert read(document).message == ExpireGiftCard(gift_card_id=CARD)


def test_an_id_that_is_no_uuid_always_gives_the_same_job() -> None:
    first, again = read(event(id="order-17")), read(event(id="order-17"))

    assert first.id == again.id == uuid5(UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8"), "checkout#order-17")
    assert read(event(id="order-17", source="refunds")).id != first.id


def test_sixty_four_kib_are_read_and_one_byte_more_is_not() -> None:
    document = json.dumps(event(padding="")).encode()
    most = document.replace(b'"padding": ""', b'"padding": "' + b"x" * (MAX_BODY_BYTES - len(document)) + b'"')

    assert len(most) == MAX_BODY_BYTES
    assert decode(most).message
    with pytest.raises(BadMessage, match="too_large: the body has 65537 bytes") as caught:
        decode(most + b" ")
    assert caught.value.reason == "too_large"


def test_a_message_too_large_to_read_is_not_sent() -> None:
    with pytest.raises(BadMessage, match="too_large"):
        Envelope(ExpireGiftCard(gift_card_id=CARD), dedupe_key="x" * MAX_BODY_BYTES).encode()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"not json", b"[1]", b'"text"', b"null", b"[" * 60_000])
def test_what_is_no_json_object_is_undecodable(body: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(body)

    assert caught.value.reason == "undecodable"


def test_an_unknown_name_lists_the_known_ones() -> None:
    error = refusal(event(type="send_gift_card_fax"))

    assert error.reason == "unknown_message"
    assert all(name in error.detail for name in ["send_gift_card_fax", *MESSAGES])


@pytest.mark.parametrize(
    "message",
    [
        SendGiftCardEmail(gift_card_id=CARD, recipient_email=ADDRESS),
        SendExpiryReminder(gift_card_id=CARD, recipient_email=ADDRESS),
        SendGiftCardSms(gift_card_id=CARD, recipient_phone=PHONE),
    ],
)
def test_an_address_becomes_a_fingerprint_at_once(message: Message) -> None:
    seen = " ".join([repr(message), str(message), Envelope(message).encode().decode(), message.model_dump_json()])

    assert ADDRESS.casefold() not in seen.casefold()
    assert PHONE not in seen
    assert "sha256:" in seen


def test_a_fingerprint_ignores_case_and_space_around_and_stays_itself() -> None:
    assert hint(f" {ADDRESS.upper()}\n") == hint(ADDRESS) == hint(hint(ADDRESS))


@pytest.mark.parametrize("address", ["nobody", "a b@example.com", "a@b", "sha256:zz", "@example.com", "x" * 400])
def test_what_is_no_address_is_refused_without_repeating_it(address: str) -> None:
    error = refusal(event(type="send_gift_card_email", data={"gift_card_id": str(CARD), "recipient_email": address}))

    assert error.reason == "invalid"
    assert address not in error.detail


@pytest.mark.parametrize("number", ["2025550123", "+0123456789", "+1415555CARD", "911"])
def test_what_is_no_number_is_refused_without_repeating_it(number: str) -> None:
    error = refusal(event(type="send_gift_card_sms", data={"gift_card_id": str(CARD), "recipient_phone": number}))

    assert number not in error.detail


def test_a_time_without_a_zone_is_not_sent() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Envelope(ExpireGiftCard(gift_card_id=CARD), run_at=datetime(2026, 12, 25))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*MESSAGES, str(CARD)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({field for message in MESSAGES.values() for field in message.model_fields})
ATTRIBUTES = ["specversion", "id", "source", "type", "runat", "priority", "dedupekey", "traceparent", "data", "kwargs"]
TIMES = st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
DATA = st.dictionaries(st.sampled_from(FIELDS), JSON | TIMES | st.just(str(CARD)), max_size=5)
WHOLE = st.builds(lambda name, data: event(type=name, data=data), st.sampled_from(list(MESSAGES)), DATA)
BROKEN = st.builds(
    lambda whole, changes: whole | changes,
    WHOLE,
    st.dictionaries(st.sampled_from(ATTRIBUTES), JSON | TIMES, max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(st.binary() | (WHOLE | BROKEN | JSON).map(lambda d: json.dumps(d).encode()))
def test_whatever_comes_is_a_message_or_a_bad_message(body: bytes) -> None:
    try:
        envelope = decode(body)
    except BadMessage:
        return
    assert decode(envelope.encode()).message == envelope.message


@settings(max_examples=100, deadline=None)
@given(DATA.map(lambda d: json.dumps(d).encode()), st.dictionaries(st.sampled_from(ATTRIBUTES), JSON | st.binary()))
def test_whatever_the_headers_say_is_a_message_or_a_bad_message(body: bytes, attributes: dict[str, Any]) -> None:
    headers = {f"cloudEvents:{name}": value for name, value in attributes.items()}

    with suppress(BadMessage):
        decode(body, headers | {"other": object()})
