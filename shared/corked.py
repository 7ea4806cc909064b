"""pika's connection, with what is published at one go sent at one go: it sends three packets a message by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pika.adapters.select_connection import SelectConnection


class CorkedConnection(SelectConnection):  # type: ignore[misc]  # the package has no types
    """Hold back what is sent while corked, and send it together then."""

    _held: list[bytes] | None = None

    @contextmanager
    def corked(self) -> Iterator[None]:
        """Send what is published meanwhile in one piece at the end."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held and not self.is_closed:
                self._adapter_emit_data(b"".join(held))

    def _adapter_emit_data(self, data: bytes) -> None:
        """Send bytes: pika's own way for an adapter to say how."""
        if self._held is None:
            super()._adapter_emit_data(data)
        else:
            self._held.append(data)
