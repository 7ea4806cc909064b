"""What tests of the record share: actors that do what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

import services.expiry.actors  # noqa: F401  # registers actors whose functions a test may replace
from shared import actor
from shared.jobs import Job
from shared.messages import ExpireGiftCard, Message

Acting: TypeAlias = Callable[[Callable[[Any, Job], Any]], None]


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a function do the work of ``expire_gift_card`` (or another message): ``acting(lambda message, job: …)``."""

    def replace(function: Callable[[Any, Job], Any], message: type[Message] = ExpireGiftCard) -> None:
        monkeypatch.setitem(actor.FUNCTIONS, message.name, function)

    return replace
