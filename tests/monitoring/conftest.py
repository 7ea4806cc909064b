"""The demonstration's cards, living under the eyes of a Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.monitoring.site import Prometheus, lived


@pytest.fixture(scope="package")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with lived(tmp_path_factory.mktemp("watched")) as found:
        yield found
