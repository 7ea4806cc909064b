"""What EXPLAIN (FORMAT JSON) says of a statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a plan's node and all below it."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)
