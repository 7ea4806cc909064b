"""The AsyncAPI document as one HTML page that needs nothing but a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def page(described: dict[str, Any]) -> str:
    """Render an AsyncAPI document."""
    template = _TEMPLATES.get_template("page.html.j2")
    return template.render(api=described, kind=_kind, code=lambda part: json.dumps(part, indent=2, ensure_ascii=False))


def _kind(schema: dict[str, Any]) -> str:
    """Say in words what values a field takes."""
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]
    words = []
    for branch in branches:
        choice = " or ".join(str(value) for value in branch.get("enum", ()))
        words.append(choice or branch.get("format") or branch.get("pattern") or branch.get("type", "any"))
    return ", ".join(words)
