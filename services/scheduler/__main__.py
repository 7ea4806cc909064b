"""Run the scheduler: relay, timetable and rescue. Any number of replicas run side by side; none leads."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import psycopg

from services.scheduler import counts, outbox, wiretap
from services.scheduler.relay import Relay, declare_queues
from services.scheduler.rescue import rescue
from services.scheduler.timetable import Timetable
from services.scheduler.wishes import rederive
from shared import db, health, logs, tracing
from shared.errors import QueueMismatch
from shared.publisher import Publisher
from shared.settings import settings

RESCUE_EVERY_S = 1
OUTBOX_EVERY_S = 1
REDERIVE_EVERY_S = 6 * 3600
LONGEST_SLEEP_S = 5  # a safety net under LISTEN: a lost notification costs at most this


def main() -> None:
    """Run until SIGTERM."""
    logs.configure(settings().log_level)
    tracing.start("giftcard-jobs-scheduler")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: db.stopping.set())
    # Two connections: what goes wrong with a fact must not hold up a job.
    publisher, teller = (Publisher(settings().rabbitmq_url.get_secret_value()) for _ in range(2))
    relay, timetable = Relay(publisher), Timetable()
    db.open_pool(8)
    wake = threading.Event()
    loops = [
        _loop("relay", lambda: _relay(relay, wake)),
        _loop("timetable", lambda: _sleep(timetable.fire())),
        _loop("rescue", lambda: _sleep(RESCUE_EVERY_S if rescue() == 0 else 0)),
        _loop("outbox", lambda: _sleep(OUTBOX_EVERY_S if outbox.tell(teller) == 0 else 0)),
        _loop("listen", lambda: _listen(wake)),
        _loop("declare", _declare),
        _loop("wiretap", wiretap.follow),
        _loop("wishes", lambda: (rederive(), db.stopping.wait(REDERIVE_EVERY_S))),
    ]
    counts.register()
    health.serve(SchedulerProbe(loops, publisher))
    logs.get().info("scheduler_started", timetable=[line.name for line in timetable.lines])
    db.stopping.wait()
    wake.set()
    for loop in loops:
        loop.join(settings().shutdown_grace_s)
    publisher.close()
    teller.close()
    health.stop()
    db.close_pool()
    tracing.stop()
    logs.get().info("scheduler_stopped")


def _relay(relay: Relay, wake: threading.Event) -> None:
    """Publish while there is something to publish, then sleep exactly until the next row, or until told."""
    wake.clear()
    if relay.publish_due() == 0:
        next_s = relay.seconds_to_next()
        wake.wait(LONGEST_SLEEP_S if next_s is None else min(next_s, LONGEST_SLEEP_S))


def _listen(wake: threading.Event) -> None:
    with db.connect(autocommit=True) as connection:
        connection.execute("LISTEN jobs_due")
        wake.set()
        while not db.stopping.is_set():
            for _ in connection.notifies(timeout=1, stop_after=1):
                wake.set()


def _declare() -> None:
    try:
        declare_queues()
    except QueueMismatch as error:  # the other queues' jobs go on
        logs.get().critical("queue_mismatch", error=str(error))
    _sleep(60)


def _sleep(seconds: float) -> None:
    db.stopping.wait(min(seconds, 60))


def _loop(name: str, work: Callable[[], object]) -> threading.Thread:
    """Do ``work`` again and again in a thread; an error is told, and tried again after a moment."""

    def run() -> None:
        while not db.stopping.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001  # the loop must outlive whatever happens in it
                logs.get().warning("loop_failed", loop=name, **logs.place(error))
                db.stopping.wait(1 if isinstance(error, (*db.AWAY, psycopg.Error, OSError)) else 2)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class SchedulerProbe:
    """Say whether the loops run, and whether what they need is there."""

    def __init__(self, loops: list[threading.Thread], publisher: Publisher) -> None:
        self._loops = loops
        self._publisher = publisher

    def dead(self) -> list[str]:
        """Name the loops that have ended."""
        return [] if db.stopping.is_set() else [loop.name for loop in self._loops if not loop.is_alive()]

    def missing(self) -> list[str]:
        """Name what is away: the broker, the database."""
        broker = [] if self._publisher.connected() else ["broker"]
        return (["stopping"] if db.stopping.is_set() else []) + broker + health.database_missing()


if __name__ == "__main__":
    main()
