"""Publish for a peer: ``send.py celery_peer|dramatiq_peer HOW …``.

``each N`` notes when each publish began and ended; ``fill N`` and ``cards < IDS`` are quiet; ``paced N RATE`` says to
each job when it was sent; ``due N RATE AT`` and ``instant N AT`` let them run at times from AT on.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

peer = import_module(sys.argv[1])
how, numbers = sys.argv[2], [float(argument) for argument in sys.argv[3:]]
count = int(numbers[0]) if numbers else 0


def wait_until(moment: float) -> None:
    """Sleep until then."""
    time.sleep(max(0, moment - time.time()))


if how == "each":
    for _ in range(count):
        began = time.time()
        peer.send("noop", 0.0)
        peer.journal.note(began, time.time())
elif how == "fill":
    for _ in range(count):
        peer.send("noop", 0.0)
elif how == "cards":
    for line in sys.stdin:
        peer.send("expire", line.strip())
elif how == "paced":
    begin = time.time()
    for n in range(count):
        wait_until(begin + n / numbers[1])
        peer.send("noop", time.time())
elif how == "due":
    for n in range(count):
        at = numbers[2] + n / numbers[1]
        peer.send("noop", at, at)
elif how == "instant":
    for _ in range(count):
        peer.send("noop", numbers[1], numbers[1])
else:
    raise SystemExit(__doc__)
