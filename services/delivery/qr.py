"""A card's code as a picture that a till can read."""

from __future__ import annotations

import struct
import zlib

import segno

# ISO/IEC 18004 lets the writer choose among eight masks, and readers take any: the figure says which. Scoring all eight
# for every code costs five times the encoding, and helps only large or very regular codes.
MASK = 0
SCALE = 6  # pixels a module
QUIET = 4  # modules of white around, as the standard demands
_LIGHT = bytes.maketrans(b"\0\1", b"10")  # a dark module is 1 in segno's matrix, and a black pixel 0


def png(code: str) -> bytes:
    """Draw a code as a QR code: black on white whatever the reader's theme, error correction of at least 15 %."""
    modules = segno.make(code, error="m", micro=False, mask=MASK).matrix
    edge = "1" * QUIET
    blank = ["1" * (len(modules) + 2 * QUIET)] * QUIET
    lines = [edge + row.translate(_LIGHT).decode() + edge for row in modules]
    return _picture([_pixels(line) for line in (*blank, *lines, *blank)], len(blank[0]) * SCALE)


def _pixels(line: str) -> bytes:
    bits = line.replace("0", "0" * SCALE).replace("1", "1" * SCALE)
    padded = bits.ljust(-(-len(bits) // 8) * 8, "1")
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def _picture(lines: list[bytes], width: int) -> bytes:
    """Write a PNG of one bit a pixel (W3C PNG, sections 11.2 and 9.2: filter 0 before each line)."""
    head = struct.pack(">IIBBBBB", width, len(lines) * SCALE, 1, 0, 0, 0, 0)
    data = zlib.compress(b"".join((b"\0" + line) * SCALE for line in lines))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
