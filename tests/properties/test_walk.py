"""No path of a delivery leads to a second message, but the one counted resend of a mail that may not have arrived."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.delivery.deliveries import Delivery
from shared import db
from tests.kinds import Issue, Setting
from tests.properties.walk import Walk

DEPTH = 7 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 3


@contextmanager
def walk(card: Issue, channel: str, setting: Setting) -> Iterator[Walk]:
    setting(settle_s=0, sms_quiet_hours="", sms_per_recipient_a_day=1000, twilio_from="+14155550100")
    with db.connect(autocommit=True) as connection:
        # With one address nothing goes the other way: this is about one delivery.
        card_id = card(recipient_phone=None) if channel == "email" else card(recipient_email=None)
        connection.execute("SET session_replication_role = replica")
        yield Walk(connection, card_id, channel)


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_no_path_sends_twice_but_by_the_one_counted_resend(channel: str, card: Issue, setting: Setting) -> None:
    with walk(card, channel, setting) as paths:
        nodes = list(paths.run(DEPTH))

    assert [(node.wrong, node.path) for node in nodes if node.wrong] == []
    twice = [node for node in nodes if node.accepted == 2]
    assert bool(twice) == (channel == "email")  # the walk does reach the resend that is allowed
    assert len(nodes) > 50
    print(f"{channel}: {len(nodes)} states, {paths.transitions} transitions, {len(twice)} with a counted resend")


@pytest.mark.parametrize(("channel", "wrong"), [("email", "accepted twice, and"), ("sms", "a text was accepted twice")])
def test_the_walk_finds_the_path_of_a_service_that_takes_unknown_for_failed(
    channel: str, wrong: str, card: Issue, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Delivery, "outcome_unknown", property(lambda _: False))

    with walk(card, channel, setting) as paths:
        found = next(node for node in paths.run(DEPTH) if node.wrong)

    assert wrong in (found.wrong or "")
    print(f"{channel}: {' → '.join(found.path)}: {found.wrong}")
