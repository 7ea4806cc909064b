"""A copy of the templates that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.delivery import rendering, words

_CACHES = (words._known, words.words, words.version, rendering._environment, rendering._template)


@contextmanager
def copied(to: Path) -> Iterator[Path]:
    """Let everything read a copy in that directory instead of the templates; see `forget`."""
    copy = shutil.copytree(words.FOLDER, to / "templates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "FOLDER", copy)
        forget()
        yield copy
    forget()


def forget() -> None:
    """Make the next reader see what has been changed."""
    for cached in _CACHES:
        cached.cache_clear()
