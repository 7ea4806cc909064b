"""Bad input at the edge: written down once with what to mend, while the worker lives and goes on."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pika
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.scheduler.relay import Relay
from shared import refusals
from shared.actor import run
from shared.errors import BadMessage, UnknownMessage
from shared.messages import MESSAGES, ExpireGiftCard, Priority
from shared.packets import Packet
from shared.publisher import Publisher
from shared.wire import Envelope, decode
from tests.kinds import Eventually, JobOf, Setting, Sql, StartWorker
from tests.shared.conftest import Acting

QUEUE = "gift-card-expiry"
CANARY = "ada.canary@example.com"


def body(**changes: Any) -> bytes:
    whole = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "checkout",
        "type": "expire_gift_card",
        "data": {"gift_card_id": str(uuid4())},
    }
    return json.dumps(whole | changes).encode()


def rejected(sql: Sql) -> list[dict[str, Any]]:
    return sql("SELECT * FROM jobs WHERE state = 'rejected' ORDER BY enqueued_at")


BAD: list[tuple[bytes, str, str]] = [
    (b"\xff\xfe\x00", "undecodable", "send CloudEvents"),
    (b"[1, 2]", "undecodable", "a JSON list"),
    (b"x" * 65_537, "too_large", "send ids, not content"),
    (body(data={}), "invalid", "gift_card_id"),
    (body(data={"gift_card_id": 17}), "invalid", "gift_card_id"),
    (body(data={"gift_card_id": CANARY}), "invalid", "gift_card_id"),
    (body(id="x\0y"), "invalid", "id"),
    (body(source="\ud800"), "invalid", "source"),
    (body(type="send_gift_card_email", data={"gift_card_id": str(uuid4())}), "wrong_queue", "email-delivery"),
    (body(data={"n": float("nan"), "deep": [[[[[[[[1]]]]]]]], "\0": "\0"}), "invalid", "gift_card_id"),
    (b'{"actor_name": "expire_gift_card", "kwargs": null, "message_id": "1", "options": null}', "invalid", "data"),
    (b'{"actor_name": 1, "kwargs": {}, "message_id": 1}', "invalid", "type"),
]


def test_each_kind_is_written_down_and_the_worker_goes_on(
    acting: Acting, worker: StartWorker, publisher: Publisher, sql: Sql, eventually: Eventually, caplog: Any, capfd: Any
) -> None:
    acting(lambda *_: None)
    worker(QUEUE)

    publisher.publish([Packet(QUEUE, raw, "x") for raw, _, _ in BAD])
    good = publisher.send(ExpireGiftCard(gift_card_id=uuid4()))

    eventually(lambda: len(rejected(sql)) == len(BAD))
    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = 'succeeded'", good))
    found = [(row["reason"], row["error"]) for row in rejected(sql)]
    for _, reason, says in BAD:
        assert any(reason == given and says in error for given, error in found), (reason, says)
    captured = capfd.readouterr()
    assert CANARY not in str(rejected(sql)) + captured.out + captured.err + caplog.text


def test_the_same_bad_body_delivered_twice_is_one_row(
    acting: Acting, worker: StartWorker, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    acting(lambda *_: None)
    publisher.publish([Packet(QUEUE, b"not json", str(n)) for n in range(2)])
    last = publisher.send(ExpireGiftCard(gift_card_id=uuid4()))

    worker(QUEUE)

    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = 'succeeded'", last))
    eventually(lambda: rejected(sql))
    assert len(rejected(sql)) == 1


def test_a_mended_message_may_come_with_the_same_id(
    acting: Acting, worker: StartWorker, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    acting(lambda *_: None)
    worker(QUEUE)
    job_id = uuid4()

    publisher.publish([Packet(QUEUE, body(id=str(job_id), data={}), "1")])
    eventually(lambda: rejected(sql))
    publisher.publish([Packet(QUEUE, body(id=str(job_id)), "1")])

    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = 'succeeded'", job_id))


def test_a_row_whose_data_are_wrong_ends_as_rejected(
    acting: Acting, worker: StartWorker, publisher: Publisher, sql: Sql, job: JobOf, eventually: Eventually
) -> None:
    data = json.dumps({"gift_card_id": str(uuid4())})
    job_id = sql("SELECT enqueue_job('expire_gift_card', %s::jsonb) AS id", data)[0]["id"]
    sql('UPDATE jobs SET data = data || \'{"expiry_version": "next"}\' WHERE id = %s', job_id)  # of an older door
    worker(QUEUE)

    Relay(publisher).publish_due()

    eventually(lambda: job(job_id)["state"] == "rejected")
    assert job(job_id)["data"]["expiry_version"] == "next"
    assert "expiry_version" in job(job_id)["error"]


def unknown(name: str = "send_gift_card_fax", **changes: Any) -> UnknownMessage:
    with pytest.raises(UnknownMessage) as caught:
        decode(body(type=name, **changes))
    return caught.value


def test_an_unknown_name_is_parked_and_published_again_and_rejected_after_its_grace(
    acting: Acting, worker: StartWorker, publisher: Publisher, sql: Sql, eventually: Eventually, setting: Setting
) -> None:
    worker(QUEUE)
    publisher.publish([Packet(QUEUE, body(type="send_gift_card_fax", data={"to": CANARY, "text": "hi"}), "1")])
    eventually(lambda: sql("SELECT id FROM jobs"))
    (row,) = sql("SELECT * FROM jobs")
    assert (row["state"], row["reason"], row["name"]) == ("scheduled", "unknown_message", "send_gift_card_fax")
    assert row["run_at"] > row["enqueued_at"]
    assert CANARY not in str(row)

    for age, state in (("10 minutes", "scheduled"), ("16 minutes", "rejected")):
        sql(
            "UPDATE jobs SET run_at = clock_timestamp(), enqueued_at = clock_timestamp() - %s::interval, worker = NULL",
            age,
        )
        parked_at = sql("SELECT run_at FROM jobs")[0]["run_at"]
        Relay(publisher).publish_due()
        eventually(
            lambda state=state, parked_at=parked_at: sql(  # type: ignore[misc]  # bound now
                "SELECT FROM jobs WHERE state = %s AND (run_at > %s OR finished_at IS NOT NULL)", state, parked_at
            )
        )

    (row,) = sql("SELECT * FROM jobs")
    assert "no message is called 'send_gift_card_fax': use one of" in row["error"]
    assert row["data"]["data"]["text"] == "text of 2 characters"


def test_a_parked_message_runs_as_it_was_meant_once_a_newer_worker_comes(
    acting: Acting, database: str, publisher: Publisher, sql: Sql, job: JobOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, seen = ExpireGiftCard(gift_card_id=uuid4(), expiry_version=2), list[ExpireGiftCard]()
    meant = Envelope(message, dedupe_key="k", priority=Priority.URGENT, source="orders")
    with monkeypatch.context() as older:
        older.setattr("shared.wire.MESSAGES", {n: m for n, m in MESSAGES.items() if n != "expire_gift_card"})
        with pytest.raises(UnknownMessage) as caught:
            decode(meant.encode())
        refusals.write_down(QUEUE, caught.value, meant.encode())
    sql("UPDATE jobs SET run_at = clock_timestamp()")

    acting(lambda given, _: seen.append(given))
    Relay(publisher).publish_due()
    with pika.BlockingConnection(publisher._parameters) as connection:
        _, _, raw = connection.channel().basic_get(f"{QUEUE}.urgent", auto_ack=True)
    run([decode(raw or b"")])
    run([meant])

    assert seen == [message]
    row = job(meant.id)
    assert (row["state"], row["reason"], row["dedupe_key"], row["priority"]) == ("succeeded", None, "k", 0)
    assert row["gift_card_id"] == message.gift_card_id


def test_a_parked_message_with_a_time_of_its_own_still_waits_for_it(
    acting: Acting, database: str, sql: Sql, job: JobOf
) -> None:
    acting(lambda *_: None)
    error = unknown("expire_gift_card_2", runat="2199-01-01T00:00:00Z")

    refusals.write_down(QUEUE, error, b"{}")

    assert job(error.row["id"])["run_at"].year == 2199


def test_a_parked_message_whose_time_only_newer_workers_can_read_waits_for_it(
    acting: Acting, database: str, sql: Sql, job: JobOf
) -> None:
    acting(lambda *_: None)
    later = Envelope(ExpireGiftCard(gift_card_id=uuid4()))
    sql(
        "INSERT INTO jobs (id, name, queue, state, reason, max_attempts)"
        " VALUES (%s, 'expire_gift_card', %s, 'queued', 'unknown_message', 4)",
        later.id,
        QUEUE,
    )

    run([Envelope(later.message, id=later.id, run_at=decode(body(runat="2199-01-01T00:00:00Z")).run_at)])

    row = job(later.id)
    assert (row["state"], row["run_at"].year, row["attempt"]) == ("scheduled", 2199, 0)


def test_without_grace_an_unknown_name_is_rejected_at_once(database: str, setting: Setting, sql: Sql) -> None:
    setting(unknown_message_grace_s=0)
    error = unknown()

    refusals.write_down(QUEUE, error, body(type="send_gift_card_fax"))

    assert [row["reason"] for row in rejected(sql)] == ["unknown_message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


def test_whatever_is_refused_can_be_written_down(database: str, sql: Sql) -> None:
    @hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.binary() | JSON.map(lambda value: json.dumps(value).encode()), JSON, st.sampled_from(["type", "actor_name"])
    )
    def write(raw: bytes, data: Any, field: str) -> None:
        refusals.write_down(QUEUE, BadMessage("invalid", "for this test"), raw)
        for document in (data, {field: data, "id": data}, {"data": data, "x": data}):
            refusals.write_down(QUEUE, BadMessage("invalid", "for this test"), json.dumps(document).encode())
        row = unknown().row | {"data": {"data": data}}
        refusals.write_down(QUEUE, UnknownMessage("for this test", row), b"{}")

    write()
    assert sql("SELECT FROM jobs WHERE state = 'rejected'")


@pytest.mark.parametrize("address", [CANARY, f" {CANARY} ", "+14155550123", "+1 (415) 555-0123"])
def test_an_address_in_a_message_nobody_knows_is_kept_as_a_fingerprint(
    database: str, sql: Sql, address: str, job: JobOf
) -> None:
    error = unknown(data={"to": address, "all": [{"cc": address}]})

    refusals.write_down(QUEUE, error, b"{}")

    assert address.strip() not in str(job(error.row["id"]))


def test_a_field_that_is_named_after_somebody_is_masked_in_what_is_kept(database: str, sql: Sql) -> None:
    refusals.write_down(QUEUE, BadMessage("invalid", "for this test"), body(data={CANARY: 1, "gift_card_id": 7}))

    [row] = rejected(sql)
    assert row["data"]["data"] == {f"name of {len(CANARY)} characters": 1, "gift_card_id": 7}


def test_an_urgent_message_that_is_bad_is_written_down_too(
    worker: StartWorker, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    worker(QUEUE)

    publisher.publish([Packet(f"{QUEUE}.urgent", b"no", "1")])

    eventually(lambda: [row["queue"] for row in rejected(sql)] == [QUEUE])


def test_headers_of_other_kinds_do_no_harm(
    acting: Acting, worker: StartWorker, rabbitmq: str, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    acting(lambda *_: None)
    headers: dict[str, Any] = {"cloudEvents:specversion": "1.0", "cloudEvents:type": "expire_gift_card"}
    headers |= {"cloudEvents:source": "till", "cloudEvents:id": "7", "x-death": [{"count": 1}], "cloudEvents:time": 7}
    worker(QUEUE)

    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        properties = pika.BasicProperties(headers=headers, priority=10, message_id="x", expiration="600000")
        data = json.dumps({"giftCardId": str(uuid4())}).encode()
        connection.channel().basic_publish("", QUEUE, data, properties)

    eventually(lambda: sql("SELECT FROM jobs WHERE state = 'succeeded' AND source = 'till'"))


def test_a_future_message_is_parked_by_its_worker(
    worker: StartWorker, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    worker(QUEUE)
    due = decode(body(runat="2199-01-01T00:00:00Z")).run_at

    job_id = publisher.send(ExpireGiftCard(gift_card_id=uuid4()), run_at=due)

    eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND state = 'scheduled' AND run_at = %s", job_id, due))
