"""One thing that must always hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class Invariant:
    """A promise that rows can be asked about.

    Parameters:
        id: as in the catalogue of failure modes, such as ``I1``.
        says: what holds, in plain words.
        way_out: what to do when it does not.
        query: gives one row with ``count``, the number of violations; its parameters are those of ``count()``.
    """

    id: str
    says: str
    way_out: str
    query: LiteralString
