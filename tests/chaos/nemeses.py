"""What goes wrong, one after another: each nemesis says what it did and proves that it took effect."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

import pika

from deploy.local import management, postgres, rabbitmq
from tests.chaos.site import LEASE_S, SCHEDULERS, SLEEPER, WORKERS, Site

Shoot: TypeAlias = Callable[[Site, random.Random, float], int]


@dataclass(frozen=True)
class Nemesis:
    """One way to go wrong.

    Parameters:
        says: what it does, for people.
        shoot: do it to a site for about so many seconds, mend it, and give the hits: each is one proven effect.
    """

    name: str
    says: str
    shoot: Shoot


NEMESES: dict[str, Nemesis] = {}


def nemesis(name: str) -> Callable[[Shoot], Shoot]:
    """Enter a function as a nemesis; its docstring says what it does, and it returns its hits."""

    def enter(shoot: Shoot) -> Shoot:
        NEMESES[name] = Nemesis(name, (shoot.__doc__ or "").splitlines()[0], shoot)
        return shoot

    return enter


@nemesis("kill-workers")
def kill_workers(site: Site, dice: random.Random, for_s: float) -> int:
    """Kill worker processes as by kill -9, one every two seconds. A hit is a process that is gone."""
    return _kill(site, [*WORKERS, "delivery-1", "delivery-2", "control"], dice, for_s)


@nemesis("kill-schedulers")
def kill_schedulers(site: Site, dice: random.Random, for_s: float) -> int:
    """Kill schedulers as by kill -9, one every two seconds. A hit is a process that is gone."""
    return _kill(site, list(SCHEDULERS), dice, for_s)


@nemesis("stop-workers")
def stop_workers(site: Site, dice: random.Random, for_s: float) -> int:
    """Stop a delivery worker for longer than its lease, then let it go on. A hit is a process that stood still."""
    return _asleep(site, [dice.choice(["delivery-1", "delivery-2"]), "expiry"], max(for_s, 2.5 * LEASE_S))


@nemesis("stop-schedulers")
def stop_schedulers(site: Site, dice: random.Random, for_s: float) -> int:
    """Stop both schedulers, then let them go on. A hit is a process that stood still."""
    return _asleep(site, list(SCHEDULERS), for_s)


@nemesis("kill-rabbitmq")
def kill_rabbitmq(site: Site, _: random.Random, for_s: float) -> int:
    """Kill RabbitMQ as by kill -9, and start it again. A hit is its pid that died."""
    return _restart_rabbitmq(site, for_s / 4)


@nemesis("alarm-rabbitmq")
def alarm_rabbitmq(site: Site, _: random.Random, for_s: float) -> int:
    """Raise RabbitMQ's memory alarm, which blocks publishers only, and kill it then. Hits: the alarm, and the pid."""
    home = site.directory / "rabbitmq"
    rabbitmq.control(home, "set_vm_memory_high_watermark", "absolute", "1MB")
    time.sleep(for_s)
    return min(_alarms(site), _restart_rabbitmq(site, 0)) * 2


@nemesis("delete-queue")
def delete_queue(site: Site, _: random.Random, for_s: float) -> int:
    """Delete the mail queue with messages in it. A hit is a message that went with it."""
    return _with_messages(site, for_s, lambda channel: channel.queue_delete("email-delivery").method.message_count)


@nemesis("purge-queue")
def purge_queue(site: Site, _: random.Random, for_s: float) -> int:
    """Purge the mail queue. A hit is a message that was in it."""
    return _with_messages(site, for_s, lambda channel: channel.queue_purge("email-delivery").method.message_count)


@nemesis("close-connections")
def close_connections(site: Site, _: random.Random, for_s: float) -> int:
    """Close all connections to RabbitMQ every two seconds. A hit is a connection that was closed."""
    hits, end = 0, time.monotonic() + for_s
    while time.monotonic() < end:
        for connection in management.call(site.api, "GET", "connections"):
            with suppress(OSError):
                management.call(site.api, "DELETE", f"connections/{quote(connection['name'], safe='')}")
                hits += 1
        time.sleep(2)
    return hits


@nemesis("crash-postgresql")
def crash_postgresql(site: Site, _: random.Random, for_s: float) -> int:
    """Crash PostgreSQL (-m immediate), and start it again. A hit is its pid that died."""
    died = postgres.crash(site.directory / "postgres")
    time.sleep(for_s / 4)
    postgres.start(site.directory / "postgres")
    return int(died > 0)


@nemesis("terminate-backends")
def terminate_backends(site: Site, _: random.Random, for_s: float) -> int:
    """End all backends of the services every two seconds (pg_terminate_backend). A hit is a backend that ended."""
    hits, end = 0, time.monotonic() + for_s
    while time.monotonic() < end:
        with site.connect() as connection:
            query = """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) AS ended FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND datname = current_database()
                    AND client_port IS NOT NULL AND application_name = 'giftcard-jobs'"""
            row = connection.execute(query).fetchone()
            hits += row["ended"] if row else 0
        time.sleep(2)
    return hits


def _on_line(line: str, do: str, counted: str) -> Shoot:
    def shoot(site: Site, _: random.Random, for_s: float) -> int:
        before = site.order(line, "look").get(counted, 0)
        site.order(line, do)
        _until_hit(lambda: site.order(line, "look").get(counted, 0) - before, for_s if do != "reset" else 0)
        return site.order(line, "heal").get(counted, 0) - before

    shoot.__doc__ = f"Line to {line}: {do.replace('_', ' ')}. Hits: {counted}."
    return shoot


for _line in ("database", "rabbitmq", "smtp", "twilio"):
    nemesis(f"blackhole-{_line}")(_on_line(_line, "blackhole", "connections stalled"))
    nemesis(f"latency-{_line}")(_on_line(_line, "latency", "bytes delayed"))
    nemesis(f"half-open-{_line}")(_on_line(_line, "half_open", "connections half open"))
    nemesis(f"reset-{_line}")(_on_line(_line, "reset", "connections reset"))


@nemesis("smtp-hangs")
def smtp_hangs(site: Site, _: random.Random, for_s: float) -> int:
    """Let the relay hang, before and after it took the mail; then it restarts. A hit is a mail without an answer."""
    for rule in (
        {"phase": "dot", "accept": True, "every": 4},
        {"phase": "dot", "every": 5},
        {"phase": "rcpt", "every": 7},
    ):
        site.misbehave(channel="email", do="hang", times=None, **rule)
    return _mended(site, for_s, "smtp")


@nemesis("smtp-swallows")
def smtp_swallows(site: Site, _: random.Random, for_s: float) -> int:
    """Let the relay take mails and break off without an answer. A hit is an answer that was swallowed."""
    site.misbehave(channel="email", do="cut", phase="dot", accept=True, times=None, every=3)
    return _mended(site, for_s)


@nemesis("smtp-refuses")
def smtp_refuses(site: Site, _: random.Random, for_s: float) -> int:
    """Let the relay refuse: 451 at most, 550 for some, 421 now and then. A hit is a refusal."""
    rules = (
        ("rcpt", 451, "4.3.0 try later", 2),
        ("dot", 452, "4.3.1 no room", 5),
        ("rcpt", 550, "5.1.1 nobody here", 9),
    )
    for phase, code, text, every in (*rules, ("mail", 421, "4.3.2 going down", 11)):
        site.misbehave(channel="email", do="refuse", phase=phase, code=code, text=text, every=every, times=None)
    return _mended(site, for_s)


@nemesis("twilio-limits")
def twilio_limits(site: Site, _: random.Random, for_s: float) -> int:
    """Let Twilio answer 429 to most. A hit is such an answer."""
    site.misbehave(channel="sms", do="refuse", status=429, code=20429, retry_after_s=1, times=None, every=2)
    site.misbehave(channel="sms", do="refuse", status=429, code=20429, retry_after_s=2, times=None)
    return _mended(site, for_s)


@nemesis("twilio-hangs")
def twilio_hangs(site: Site, _: random.Random, for_s: float) -> int:
    """Let Twilio take texts and not answer in time, break off, or answer 500. A hit is such a request."""
    for rule in ({"do": "hang", "accept": True}, {"do": "cut", "accept": True}, {"do": "hang"}):
        site.misbehave(channel="sms", times=None, every=4, **rule)
    site.misbehave(channel="sms", do="refuse", accept=True, status=500, code=20500, times=None, every=5)
    return _mended(site, for_s, "twilio")


def _until_hit(hits: Callable[[], int], for_s: float, patience_s: float = 30) -> None:
    """Wait so long, and then for a first hit: on a busy machine whoever is to be hit may be slow to come."""
    end = time.monotonic() + for_s
    while time.monotonic() < end or (not hits() and time.monotonic() < end + patience_s):
        time.sleep(0.2)


def _mended(site: Site, for_s: float, line: str | None = None) -> int:
    _until_hit(site.misbehaved, for_s)
    hits = site.behave_well()
    if line:  # what hangs would hang on: a server that restarts breaks its connections
        site.order(line, "reset")
    return hits


def _kill(site: Site, names: list[str], dice: random.Random, for_s: float) -> int:
    hits, end = 0, time.monotonic() + for_s
    dice.shuffle(names)
    for name in names:
        pid = site.signal(name, signal.SIGKILL)
        time.sleep(2)
        hits += pid > 0 and site.pid(name) != pid
        if time.monotonic() > end:
            break
    return hits


def _asleep(site: Site, names: list[str], for_s: float) -> int:
    pids = {name: site.signal(name, signal.SIGSTOP) for name in names}
    time.sleep(for_s)
    still = sum(pid > 0 and _stands(pid) for pid in pids.values())
    for name in names:
        site.signal(name, signal.SIGCONT)
    return still


def _stands(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"
    return False


def _restart_rabbitmq(site: Site, after_s: float) -> int:
    died = rabbitmq.kill(site.directory / "rabbitmq")
    time.sleep(after_s)
    rabbitmq.start(site.directory / "rabbitmq")
    return int(died > 0)


def _alarms(site: Site, patience_s: float = 20) -> int:
    """Count the nodes in alarm; the management API hears of it some seconds later."""
    end = time.monotonic() + patience_s
    while True:
        alarms = sum(bool(node.get("mem_alarm")) for node in management.call(site.api, "GET", "nodes"))
        if alarms or time.monotonic() > end:
            return alarms
        time.sleep(0.5)


def _with_messages(site: Site, for_s: float, do: Callable[[pika.channel.Channel], int]) -> int:
    """Let messages gather while the workers stand still, then do something to their queue."""
    workers = [name for name in ("delivery-1", "delivery-2", SLEEPER) if not _stands(site.pid(name))]
    for name in workers:
        site.signal(name, signal.SIGSTOP)
    try:
        with pika.BlockingConnection(pika.URLParameters(site.amqp_url)) as connection:
            channel = connection.channel()
            _until_hit(lambda: _waiting(channel), max(4, for_s / 2))
            return do(channel)
    finally:
        for name in workers:
            site.signal(name, signal.SIGCONT)


def _waiting(channel: pika.channel.Channel) -> int:
    return int(channel.queue_declare("email-delivery", passive=True).method.message_count)
