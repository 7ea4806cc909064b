"""Write what others rely on into docs/contracts: JSON Schemas, the AsyncAPI document, and its page.

python -m shared.contracts             write it anew (the same as 'make contracts')
python -m shared.contracts --check     fail if it differs from the models, or breaks the last release
python -m shared.contracts --release   keep the contract of this version: what comes next is held against it
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.contracts.asyncapi import ROOT, asyncapi, version
from shared.contracts.compatibility import breaks
from shared.contracts.page import page
from shared.contracts.schemas import contract, document

FOLDER = ROOT / "docs" / "contracts"


def files() -> Iterator[tuple[Path, str]]:
    """Give every generated file's path and text."""
    agreed = contract()
    for kind in ("messages", "events"):
        for name, entry in agreed[kind].items():
            yield FOLDER / kind / f"{name}.json", _text(document(name, kind.removesuffix("s"), entry["schema"]))
    for name, entry in (agreed["envelope"] | agreed["event_envelope"]).items():
        yield FOLDER / f"{name}.json", _text(document(name, "envelope", entry["schema"]))
    described = asyncapi()
    yield FOLDER / "asyncapi.json", _text(described)
    yield FOLDER / "index.html", page(described)


def problems() -> list[str]:
    """Say what is out of date, and what would break who relies on the last release."""
    expected = dict(files())
    there = {file for file in FOLDER.rglob("*") if file.is_file() and file.parent.name != "released"}
    stale = [file for file, text in expected.items() if file not in there or file.read_text() != text]
    found = [f"{file.relative_to(ROOT)} is out of date: run 'make contracts'" for file in stale]
    found += [f"{file.relative_to(ROOT)} is of no message: delete it" for file in sorted(there - expected.keys())]
    return found + [f"breaks release {last.stem}: {problem}" for last in _last() for problem in broken_since(last)]


def broken_since(release: Path) -> list[str]:
    """Say what would break who relies on a release."""
    return breaks(json.loads(release.read_text()), contract())


def _last() -> list[Path]:
    def number(file: Path) -> list[int]:
        return [int(part) for part in file.stem.split(".")]

    return sorted((FOLDER / "released").glob("*.json"), key=number)[-1:]


def _text(described: dict[str, Any]) -> str:
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def main() -> None:
    """Write, check or release."""
    parser = ArgumentParser(
        prog="python -m shared.contracts", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail if anything differs or breaks")
    parser.add_argument("--release", action="store_true", help="keep this version's contract for later comparisons")
    options = parser.parse_args()
    if options.check:
        found = problems()
        sys.exit("\n".join(found) if found else None)
    generated = dict(files())
    for file, text in generated.items():
        _write(file, text)
    if options.release:
        _write(FOLDER / "released" / f"{version()}.json", _text(contract()))
    print(f"written to {FOLDER.relative_to(ROOT)}: {len(generated)} files")


if __name__ == "__main__":
    main()
