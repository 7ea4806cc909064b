"""Addresses as the console shows them: enough to recognise one's own, too little to write to."""

from __future__ import annotations


def masked(address: str | None) -> str | None:
    """Give ``a…@e….com`` for an address, ``+1…23`` for a number, ``sha256:1a2b3c…`` for a fingerprint."""
    if not address:
        return None
    if address.startswith("sha256:"):
        return f"{address[:13]}…"
    local, at, domain = address.rpartition("@")
    if not at:
        return f"{address[:2]}…{address[-2:]}"
    return f"{local[:1]}…@{domain[:1]}….{domain.rpartition('.')[2]}"
