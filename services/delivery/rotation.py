"""Encrypt every card's code anew with the newest key: ``python -m services.delivery.rotation``."""

from __future__ import annotations

import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

from rich.console import Console
from rich.progress import Progress

from services.delivery import codes
from shared import db, logs
from shared.failpoints import failpoint
from shared.settings import settings

HELP = """\
Encrypts every card's code with the first of JOBS_CODE_KEYS, and says when the other keys may go. Mails and texts go out
meanwhile, since all of the keys are read. It may be stopped at any time, also by kill -9: begun again, it leaves alone
what is done. --dry-run counts, and changes nothing.

    python -m services.delivery.rotation --dry-run
    python -m services.delivery.rotation
"""
PASSES = 10
BREATH_S = 1  # a card is held for as long as its mail is decided about, which is less

COUNT: LiteralString = "SELECT count(*) AS cards FROM gift_cards"

SLICE: LiteralString = """
SELECT id, code_encrypted FROM gift_cards WHERE id > %(after)s ORDER BY id LIMIT %(rows)s
"""

# A card that somebody holds right now is passed over, and met again at the end.
CHANGE: LiteralString = """
WITH mine AS (SELECT id FROM gift_cards WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED)
UPDATE gift_cards c SET code_encrypted = r.now
FROM unnest(%(ids)s::uuid[], %(was)s::text[], %(now)s::text[]) AS r (id, was, now), mine
WHERE c.id = r.id AND c.id = mine.id AND c.code_encrypted = r.was
RETURNING c.id
"""


@dataclass
class Tally:
    """Count cards by what their codes are encrypted with.

    Parameters:
        newest: with the first key, those included that were changed.
        changed: from an older key to the first one.
        older: with an older key, still: nothing was to be changed, or somebody held them.
        unreadable: ids of those that no key opens.
    """

    newest: int = 0
    changed: int = 0
    older: int = 0
    unreadable: list[UUID] = field(default_factory=list)


def rotate(*, dry_run: bool = False, met: Callable[[int], object] = lambda cards: None) -> Tally:
    """Go through all cards once, in slices, each a transaction of its own.

    Parameters:
        met: is told after each slice how many cards it had.

    Raises:
        CodeKeyError: there is no key.
    """
    tally, after = Tally(), UUID(int=0)
    while rows := _slice(after):
        after = rows[-1]["id"]
        _deal_with(rows, tally, dry_run=dry_run)
        met(len(rows))
    return tally


def _slice(after: UUID) -> list[dict[str, Any]]:
    with db.transaction() as connection:
        return connection.execute(SLICE, {"after": after, "rows": settings().slice_rows}).fetchall()


def _deal_with(rows: list[dict[str, Any]], tally: Tally, *, dry_run: bool) -> None:
    own = settings()
    old = {row["id"]: row["code_encrypted"] for row in rows if not codes.is_newest(row["code_encrypted"], own)}
    new: dict[UUID, str] = {}
    for card_id, token in old.items():
        try:
            new[card_id] = codes.rotate(token, own)
        except codes.CodeKeyError:
            tally.unreadable.append(card_id)
    changed = 0 if dry_run else _change({card_id: old[card_id] for card_id in new}, new)
    tally.newest += len(rows) - len(old) + changed
    tally.changed += changed
    tally.older += len(new) - changed


def _change(was: dict[UUID, str], now: dict[UUID, str]) -> int:
    if not now:
        return 0
    given = {"ids": list(now), "was": list(was.values()), "now": list(now.values())}
    with db.transaction() as connection:
        changed = connection.execute(CHANGE, given).rowcount
    failpoint("slice")
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Rotate, with a bar. Returns the exit status: 1 while an old key is still needed, or a code cannot be read."""
    parser = ArgumentParser(
        prog="python -m services.delivery.rotation", description=HELP, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")
    dry_run = parser.parse_args(arguments).dry_run
    logs.configure(settings().log_level)
    console = Console(highlight=False)
    try:
        tally = _with_a_bar(console, dry_run=dry_run)
    except codes.CodeKeyError as error:
        raise SystemExit(f"error: {error.detail}") from None
    except db.AWAY as error:
        raise SystemExit(f"error: cannot reach the database ({type(error).__name__}): run it again later") from None
    finally:
        db.close_pool()
    console.print(*verdict(tally, dry_run=dry_run), sep="\n")
    return 1 if tally.older or tally.unreadable else 0


def _with_a_bar(console: Console, *, dry_run: bool) -> Tally:
    with db.transaction() as connection:
        row = connection.execute(COUNT).fetchone()
    with Progress(console=console) as progress:
        bar = progress.add_task("Reading" if dry_run else "Encrypting", total=row["cards"] if row else None)
        changed = 0
        for _ in range(PASSES):
            tally = rotate(dry_run=dry_run, met=lambda cards: progress.advance(bar, cards))
            changed += tally.changed
            if dry_run or not tally.older:
                break
            time.sleep(BREATH_S)
            progress.reset(bar)
        tally.changed = changed
    return tally


def verdict(tally: Tally, *, dry_run: bool) -> list[str]:
    """Say what was found and done, and whether the old keys may go."""
    keys = len(settings().code_keys)
    lines = [f"with the newest key: {tally.newest:,}, of which {tally.changed:,} were changed now"]
    if tally.unreadable:
        some = ", ".join(map(str, tally.unreadable[:5]))
        lines.append(f"with none of the keys: {len(tally.unreadable):,}; add theirs at the end (cards {some} …)")
    if tally.older:
        then = "run this without --dry-run" if dry_run else "run this again, since somebody held them"
        lines.append(f"with an older key: {tally.older:,}; keep all {keys} keys, and {then}")
    elif keys > 1 and not tally.unreadable:
        lines.append(
            "No older key is needed. When whoever issues cards uses the newest, look once more with --dry-run;"
        )
        lines.append("then take the others out of JOBS_CODE_KEYS, and keep them for as long as backups of today.")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
