"""A soak: a twentieth of the intensity for hours, and what has grown meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.site import Site


def soak(site: Site, seed: int, hours: float, report: Callable[[str], None]) -> int:
    """Not written yet."""
    raise NotImplementedError
