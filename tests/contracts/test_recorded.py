"""Messages as they were published once are read and run for ever: recorded bodies of each release, never edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import services.cleanup.actors
import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from shared.messages import MESSAGES
from shared.packets import Packet
from shared.publisher import Publisher
from shared.wire import decode
from tests.kinds import Eventually, Issue, Sql, StartWorker

RECORDED = sorted(Path(__file__).parent.glob("recorded/*/*.json"))
CARD = UUID("7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08")
UNREADABLE = {"undecodable", "invalid", "unknown_message", "wrong_queue", "too_large"}


def name(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def expected(file: Path) -> str:
    return file.stem.partition(".")[0]


@pytest.mark.parametrize("file", RECORDED, ids=name)
def test_a_recorded_message_is_read_as_what_it_was(file: Path) -> None:
    envelope = decode(file.read_bytes())

    assert envelope.message.name == expected(file)
    assert getattr(envelope.message, "gift_card_id", CARD) == CARD


def test_each_message_of_the_release_is_recorded() -> None:
    assert {expected(file) for file in RECORDED} >= set(MESSAGES)


def test_recorded_messages_run(
    worker: StartWorker, publisher: Publisher, card: Issue, sql: Sql, eventually: Eventually
) -> None:
    card(id=CARD)
    queues = {message.queue for message in MESSAGES.values()}
    worker(*queues)

    publisher.publish([Packet(MESSAGES[expected(file)].queue, file.read_bytes(), name(file)) for file in RECORDED])

    eventually(lambda: len(sql("SELECT FROM jobs WHERE source <> 'giftcard-jobs'")) >= len(RECORDED), 60)
    eventually(lambda: not sql("SELECT FROM jobs WHERE state IN ('running', 'queued')"), 60)
    assert not [row for row in sql("SELECT name, reason, error FROM jobs") if row["reason"] in UNREADABLE]


def test_a_field_of_a_newer_sender_is_no_obstacle_to_an_older_worker() -> None:
    document: dict[str, Any] = json.loads(RECORDED[0].read_text())
    document["data"]["colour_of_the_ribbon"] = "red"
    document["newattribute"] = "x"

    assert decode(json.dumps(document).encode()).message.name == expected(RECORDED[0])
