"""The webhooks, served for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.delivery.hooks import Hooks, serving, values
from tests.kinds import Setting


@pytest.fixture
def service() -> str:
    """Run as this service's own role."""
    return "delivery"


@pytest.fixture
def hooks(database: str, setting: Setting) -> Iterator[Hooks]:
    """Serve the webhooks on a free port, with every provider's keys set."""
    setting(**values())
    with serving() as running:
        yield running
