"""Draw a real trace as a waterfall into docs/images/trace.svg: ``pytest tests/tracing/picture.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, select_autoescape
from opentelemetry.sdk.trace import ReadableSpan

from tests.tracing.conftest import Seen

PICTURE = Path(__file__).parents[2] / "docs/images/trace.svg"
LONGEST = 58  # letters of a statement
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]), trim_blocks=True
)


def test_a_gift_for_later_is_drawn(seen: Seen, gift_for_later: Callable[[str], UUID]) -> None:
    gift_for_later("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

    rows = bars(seen.all())
    PICTURE.write_text(_TEMPLATES.get_template("picture.svg.j2").render(rows=rows, total_ms=rows[0]["total_ms"]))
    assert len(rows) > 10


def bars(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """Give each span below the one that caused it: depth, words, kind, and where its bar begins and ends, in shares."""
    known = {span.context.span_id: span for span in spans if span.context}
    first = min(span.start_time or 0 for span in spans)
    total = max(span.end_time or 0 for span in spans) - first

    def way(span: ReadableSpan) -> tuple[int, ...]:
        above = known.get(span.parent.span_id) if span.parent else None
        return (*(way(above) if above else ()), span.start_time or 0)

    return [
        {
            "depth": len(way(span)) - 1,
            "words": _words(span),
            "kind": span.kind.name.lower(),
            "ms": ((span.end_time or 0) - (span.start_time or 0)) / 1e6,
            "left": ((span.start_time or 0) - first) / total,
            "width": ((span.end_time or 0) - (span.start_time or 0)) / total,
            "total_ms": total / 1e6,
        }
        for span in sorted(spans, key=way)
    ]


def _words(span: ReadableSpan) -> str:
    statement = " ".join(str((span.attributes or {}).get("db.statement", span.name)).split())
    return statement if len(statement) <= LONGEST else statement[: LONGEST - 1] + "…"
