"""The control's customers: mails asked for as stock Dramatiq asks, beside the real ones, on the same broker."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import dramatiq

from tests.chaos.control.actors import QUEUE, broker

PER_S = 6  # so many that whatever strikes for three seconds strikes some of them


def address(number: int) -> str:
    """Give the recipient of a mail."""
    return f"control{number}@example.com"


class Shop:
    """Ask for mails in a thread of its own; what ``send`` reports as an error was not asked for."""

    def __init__(self, url: str) -> None:
        self.asked: set[int] = set()
        self._number = 0
        self._orders: SimpleQueue[int] = SimpleQueue()
        self._closing = threading.Event()
        self._broker = broker(url)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def send(self) -> None:
        """Ask for one mail."""
        self._number += 1
        self._orders.put(self._number)

    def burst(self, number: int) -> None:
        """Ask for many."""
        for _ in range(number):
            self.send()

    def close(self) -> None:
        """Return once everything is asked for."""
        self._closing.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._closing.is_set() or not self._orders.empty():
            with suppress(Empty):
                number = self._orders.get(timeout=0.2)
                with suppress(Exception):
                    self._broker.enqueue(_message(number))
                    self.asked.add(number)
        with suppress(Exception):
            self._broker.close()


def _message(number: int) -> Any:
    return dramatiq.Message(QUEUE, "send_mail", (address(number), number), {}, {})
