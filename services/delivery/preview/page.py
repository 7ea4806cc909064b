"""Read the HTML of a message back: its tags, what can be seen of its text, and in which colours."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HEX = re.compile(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b")
Attributes = dict[str, str]


@dataclass(frozen=True)
class Look:
    """Hold how text looks at a place: colours as #rrggbb, and all that may lie behind it, such as a gradient's ends."""

    colour: str = "#000000"
    behind: tuple[str, ...] = ("#ffffff",)
    shown: bool = True
    selectable: bool = True
    in_link: bool = False


class Page(HTMLParser):
    """Collect tags, and the pieces of visible text with their looks.

    Only what stands in ``style`` attributes counts, since the rules have been inlined.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Attributes]] = []
        self.pieces: list[tuple[str, Look]] = []
        self._open: list[tuple[str, Look]] = [("", Look())]
        self.feed(html)

    @property
    def text(self) -> str:
        """All visible text."""
        return "".join(words for words, _ in self.pieces)

    def all(self, tag: str) -> list[Attributes]:
        """Give the attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and how the text in it looks."""
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag not in VOID:
            look = _look(self._open[-1][1], attributes.get("style", ""))
            self._open.append(
                (tag, replace(look, in_link=look.in_link or tag == "a", shown=look.shown and tag != "head"))
            )

    def handle_endtag(self, tag: str) -> None:
        """Leave an element, and those in it that were not closed."""
        if any(name == tag for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Note a piece of text."""
        if self._open[-1][1].shown:
            self.pieces.append((data, self._open[-1][1]))


def _look(around: Look, style: str) -> Look:
    rules = dict(re.findall(r"(?:^|;)\s*([\w-]+)\s*:\s*([^;]*)", style))
    behind = [_long(c) for key, value in rules.items() if key.startswith("background") for c in HEX.findall(value)]
    colour = HEX.search(rules.get("color", ""))
    return replace(
        around,
        colour=_long(colour[0]) if colour else around.colour,
        behind=tuple(behind) or around.behind,
        shown=around.shown and not rules.get("display", "").startswith("none"),
        selectable=around.selectable and not rules.get("user-select", "").startswith("none"),
    )


def _long(colour: str) -> str:
    digits = colour[1:].lower()
    return "#" + (digits if len(digits) == 6 else "".join(c * 2 for c in digits))
