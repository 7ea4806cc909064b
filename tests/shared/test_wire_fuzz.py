"""The decoder meets documents that were valid once: it refuses or reads them, in bounded time, and always the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import services.cleanup.actors
import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from shared import actor
from shared.errors import BadMessage
from shared.messages import MAX_BODY_BYTES, MESSAGES
from shared.wire import Envelope, decode
from tests.kinds import Sql

RECORDED = [file.read_bytes() for file in sorted(Path(__file__).parents[1].glob("contracts/recorded/*/*.json"))]
LONGEST_S = 2  # of this thread's own work, for 64 KiB; what is not bounded takes minutes
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "urgent", "10", "a@b.example"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inner for path in paths(one, (*at, key)))]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Change, drop or add something anywhere in a recorded document; or bytes of it."""
    body = draw(st.sampled_from(RECORDED))
    if draw(st.integers(0, 4)) == 0:
        at, cut = draw(st.integers(0, len(body))), draw(st.integers(0, 20))
        return body[:at] + draw(st.binary(max_size=8)) + body[at + cut :]
    document = json.loads(body)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([path for path in paths(document) if path]))
        place = document
        for key in way:
            place = place[key]
        match draw(st.sampled_from(["change", "change", "drop", "add"])):
            case "change":
                place[last] = draw(JUNK)
            case "drop":
                del place[last]
            case _ if isinstance(place, dict):
                place[draw(st.text(max_size=8))] = draw(JUNK)
        if not any(path for path in paths(document)):
            break
    return json.dumps(document).encode()


def read(body: bytes, headers: dict[str, Any] | None = None) -> Envelope | None:
    """Decode, or give None for a refusal; anything else that is raised fails the test."""
    with suppress(BadMessage):
        return decode(body, headers)
    return None


@settings(max_examples=600)
@given(mutants())
def test_what_was_valid_once_is_read_or_refused_and_what_is_read_comes_back_the_same(body: bytes) -> None:
    envelope = read(body)

    if envelope:
        assert decode(envelope.encode()) == envelope
        assert read(body) == envelope


# Two of them may have one dedupe key: the second is then known as the first, or rejected.
ENDED = """
SELECT count(*) AS rows FROM jobs
WHERE id = %s AND state IN ('succeeded', 'skipped', 'scheduled') OR reason LIKE 'dedupe%%'
"""


@pytest.fixture
def doing_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MESSAGES:
        monkeypatch.setitem(actor.FUNCTIONS, name, lambda *_: None)
        monkeypatch.setitem(actor.ADMIT, name, lambda *_: None)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(mutants())
def test_what_is_read_can_be_kept_and_run(doing_nothing: None, sql: Sql, body: bytes) -> None:
    if read(body):
        envelope = replace(decode(body), id=uuid4())
        actor.run([envelope])
        [ended] = sql(ENDED, envelope.id)
        assert ended["rows"] > 0


def filled(make: Callable[[str], object], unit: str) -> bytes:
    """Repeat a unit until the document is as long as may be."""
    room = MAX_BODY_BYTES - len(json.dumps(make("")))
    return json.dumps(make(unit * (room // len(json.dumps(unit)[1:-1])))).encode()


def whole(**changes: object) -> dict[str, object]:
    document = {"specversion": "1.0", "id": "1", "source": "s", "type": "send_gift_card_email"}
    return document | {"data": {"gift_card_id": str(UUID(int=7))}} | changes


LONG = [
    b"[" * MAX_BODY_BYTES,
    b'{"a":' * (MAX_BODY_BYTES // 5),
    b"9" * MAX_BODY_BYTES,
    b'{"specversion": ' + b"9" * 60_000 + b"}",
    b"-" * MAX_BODY_BYTES,
    b'"' + b"\\u0000" * 10_000 + b'"',
    *[filled(lambda text: whole(data={"gift_card_id": text}), unit) for unit in ("a", "-", "{", "0")],
    *[
        filled(lambda text: whole(data={"gift_card_id": "x", "recipient_email": text}), unit)
        for unit in ("a", "@", "a@", ".", "a.", " ", '"', "é", "a@a.a,")
    ],
    *[
        filled(lambda text: whole(type="send_gift_card_sms", data={"recipient_phone": text}), unit)
        for unit in ("1", "+", "(", "+1 ", " ", "-", "1-")
    ],
    *[
        filled(lambda text, name=name: whole(**{name: text}), unit)  # type: ignore[misc]  # bound now
        for name in ("id", "source", "type", "runat", "priority", "dedupekey", "traceparent")
        for unit in ("0", "0-", "T", "é", "a:")
    ],
    json.dumps(whole(data={str(n): n for n in range(4000)})).encode(),
    json.dumps(whole(**{f"x{n}": [] for n in range(4000)})).encode(),
    json.dumps({"actor_name": "x", "kwargs": {}, "message_id": "1"} | {f"x{n}": 0 for n in range(4000)}).encode(),
]


@pytest.mark.parametrize("body", LONG, ids=range(len(LONG)))
def test_the_longest_and_strangest_bodies_are_refused_in_bounded_time(body: bytes) -> None:
    assert len(body) <= MAX_BODY_BYTES
    began = time.thread_time()

    read(body)

    assert time.thread_time() - began < LONGEST_S


@settings(max_examples=300)
@given(st.binary(max_size=200) | mutants(), st.dictionaries(st.text(max_size=20).map("cloudEvents:".__add__), JUNK))
def test_no_header_breaks_the_decoder(body: bytes, headers: dict[str, Any]) -> None:
    read(body, headers)
