"""What the outside world accepted: one JSON line each, on disk before the sender hears yes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

Entry = dict[str, Any]


class Journal:
    """Keep accepted messages in a file, and a short form of each in memory.

    Parameters:
        path: an existing file is read and continued; a torn last line, left by a kill, is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._syncing = Lock()
        self._written = self._synced = 0
        self._entries: list[Entry] = []
        self._places: list[tuple[int, int]] = []
        self._file = path.open("a+b")
        self._read_back()

    def _read_back(self) -> None:
        self._file.seek(0)
        at = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(at)
                break
            self._remember(json.loads(line), at, len(line))
            at += len(line)
        self._file.seek(0, os.SEEK_END)

    def _remember(self, entry: Entry, at: int, length: int) -> None:
        self._places.append((at, length))
        self._entries.append({key: value for key, value in entry.items() if key != "raw"})

    def accept(self, channel: str, **fields: Any) -> Entry:
        """Write one accepted message and return it once the disk has it."""
        with self._lock:
            entry = {"n": len(self._entries), "at": datetime.now(UTC).isoformat(), "channel": channel, **fields}
            line = json.dumps(entry).encode() + b"\n"
            at = self._file.tell()
            self._file.write(line)
            self._file.flush()
            self._written = end = at + len(line)
            self._remember(entry, at, len(line))
        self._sync(end)
        return entry

    def _sync(self, end: int) -> None:
        """Wait for the disk; one wait serves all who came while the one before lasted."""
        with self._syncing:
            if self._synced < end:
                written = self._written
                os.fsync(self._file.fileno())
                self._synced = written

    def __len__(self) -> int:
        """Say how many messages were accepted."""
        return len(self._entries)

    def entries(self, channel: str | None = None, to: str | None = None) -> list[Entry]:
        """Give the messages in order of acceptance, without their raw text."""
        with self._lock:
            return list(self._select(channel, to))

    def _select(self, channel: str | None, to: str | None) -> Iterator[Entry]:
        for entry in self._entries:
            if channel in (None, "", entry["channel"]) and to in (None, "", entry["to"]):
                yield entry

    def whole(self, n: int) -> Entry:
        """Give one message with its raw text. Raises IndexError for a number that was never given out."""
        if n < 0:
            raise IndexError(n)
        with self._lock:
            at, length = self._places[n]
            line: Entry = json.loads(os.pread(self._file.fileno(), length, at))
            return line

    def close(self) -> None:
        """Close the file; what was accepted stays in it."""
        with suppress(OSError):
            self._file.close()
