"""What may change in a contract and what may not, seen from who wrote code against the last release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.contracts.schemas import Schema

Contract = dict[str, dict[str, Any]]
# What makes a field narrower when it grows, and when it shrinks.
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
INF = float("inf")


def breaks(released: Contract, current: Contract) -> list[str]:
    """Say what would break senders of messages or readers of events; empty when nothing would.

    A field may be added if it is optional. None may be removed, renamed or narrowed, and no name may go or move to
    another queue: a breaking change is a new name.
    """
    return [problem for kind in current for problem in _between(released, current, kind)]


def _between(released: Contract, current: Contract, kind: str) -> Iterator[str]:
    is_event = kind in ("events", "event_envelope")
    for name, old in released.get(kind, {}).items():
        new = current[kind].get(name)
        if new is None:
            yield f"{name}: is gone; keep it, and let a new name stand beside it"
            continue
        for place in ("queue", "exchange"):
            if old.get(place) != new.get(place):
                yield f"{name}: moved from {old[place]} to {new[place]}"
        # A message is written by others and read by us, an event the other way round.
        ours, theirs = (old, new) if is_event else (new, old)
        yield from (f"{name}.{problem}" for problem in _fields(old["schema"], new["schema"], is_event=is_event))
        for field in sorted(_required(ours["schema"]) - _required(theirs["schema"])):
            if field in theirs["schema"].get("properties", {}) or not is_event:
                yield f"{name}.{field}: {'may be missing now' if is_event else 'became required'}"


def _required(schema: Schema) -> set[str]:
    return set(schema.get("required", ()))


def _fields(old: Schema, new: Schema, *, is_event: bool) -> Iterator[str]:
    now = new.get("properties", {})
    for field, before in old.get("properties", {}).items():
        if field not in now:
            yield f"{field}: is gone; keep it, optional and unused if need be"
        elif narrower := _narrower(*((now[field], before) if is_event else (before, now[field]))):
            yield f"{field}: {narrower}"


def _narrower(wide: Schema, tight: Schema) -> str | None:
    """Say in what way some value that fits ``wide`` does not fit ``tight``."""
    if lost := _types(wide) - _types(tight):
        return f"takes no {', '.join(sorted(lost))} any more"
    for one in _branches(wide):
        for other in (b for b in _branches(tight) if b.get("type") == one.get("type")):
            if narrower := _narrower_branch(one, other):
                return narrower
    return None


def _narrower_branch(wide: Schema, tight: Schema) -> str | None:
    values, fewer = wide.get("enum"), tight.get("enum")
    if fewer is not None and (values is None or set(values) - set(fewer)):
        return f"takes only {', '.join(map(str, fewer))} now"
    for word in ("pattern", "format", "const"):
        if word in tight and tight[word] != wide.get(word):
            return f"has another {word}"
    for word in LOWER_BOUNDS:
        if tight.get(word, -INF) > wide.get(word, -INF):
            return f"{word} went up"
    for word in UPPER_BOUNDS:
        if tight.get(word, INF) < wide.get(word, INF):
            return f"{word} went down"
    return None


def _branches(schema: Schema) -> list[Schema]:
    branches: list[Schema] = schema.get("anyOf", [schema])
    return branches


def _types(schema: Schema) -> set[str]:
    return {str(branch.get("type", "any")) for branch in _branches(schema)}
