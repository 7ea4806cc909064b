"""The generated documents say what the code does: schemas, examples, AsyncAPI, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import services.expiry.actors  # noqa: F401  # registers the actors
from shared.contracts import examples
from shared.contracts.__main__ import FOLDER, problems
from shared.contracts.asyncapi import asyncapi
from shared.events import EVENTS
from shared.messages import MESSAGES
from shared.wire import decode
from tests.kinds import Deliver, Issue, Sql

ROOT = Path(__file__).parents[2]
# Kinds of lines in a card's story or in the audit, told to nobody.
AUDITED = {"job.asked", "job.retried", "job.discarded", "delivery.resolved", "recipient.shown"}


def test_what_is_committed_is_what_the_models_say() -> None:
    assert problems() == []


@pytest.mark.parametrize("name", MESSAGES)
def test_the_example_of_a_message_is_read_by_a_worker_and_fits_its_schema(name: str) -> None:
    document = examples.document(name, MESSAGES[name])

    envelope = decode(json.dumps(document).encode())

    assert envelope.message.name == name
    validate(FOLDER / "messages" / f"{name}.json", document["data"])
    validate(FOLDER / "cloudevent.json", document)


@pytest.mark.parametrize("name", EVENTS)
def test_the_example_of_an_event_fits_its_schema(name: str) -> None:
    document = examples.document(name, EVENTS[name])

    validate(FOLDER / "event.json", document)
    validate(FOLDER / "events" / f"{name}.json", document["data"])


def validate(schema: Path, value: Any) -> None:
    Draft202012Validator(json.loads(schema.read_text())).validate(value)


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    described = asyncapi()
    text = json.dumps(described)

    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        found: Any = described
        for part in reference.split("/"):
            found = found[part]


def test_every_fact_that_the_code_tells_is_in_the_catalogue() -> None:
    code = "\n".join(file.read_text() for part in ("shared", "services") for file in (ROOT / part).rglob("*.py"))
    told = set(re.findall(r"[\"']((?:gift_card|delivery|job|recipient|ledger)\.(?!html)[a-z_]+)[\"']", code))

    assert told - AUDITED == set(EVENTS)


def test_every_event_is_explained_to_readers() -> None:
    page = (ROOT / "docs/contracts.md").read_text()

    assert [name for name in EVENTS if f"`{name}`" not in page] == []


def test_the_events_of_a_card_that_expires_and_of_a_job_that_fails_fit_their_models(
    deliver: Deliver, card: Issue, sql: Sql
) -> None:
    expired = card(balance="12.50", expired=True)

    deliver(MESSAGES["expire_gift_card"].model_validate({"gift_card_id": expired}))
    sql("UPDATE gift_cards SET balance = 99 WHERE id = %s", broken := card(balance="1.00", expired=True))
    deliver(MESSAGES["expire_gift_card"].model_validate({"gift_card_id": broken}))
    told = sql("SELECT type, subject, data FROM events ORDER BY id")

    assert [event["type"] for event in told] == ["gift_card.expired", "job.failed"]
    assert [event["subject"] for event in told] == [expired, broken]
    for event in told:
        EVENTS[event["type"]].model_validate(event["data"])
