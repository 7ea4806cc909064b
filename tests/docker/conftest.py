"""One stack of docker-compose.yml for all of these tests, with an empty database; taken away afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local import compose
from deploy.local.demo.__main__ import HASTE
from deploy.local.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    try:
        yield compose.up(extra_env=HASTE, fresh=True)
    finally:
        compose.down(delete=True)
