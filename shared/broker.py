"""Dramatiq on RabbitMQ with its sharp edges off: the broker that the actors of this process are bound to."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from typing import Any

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from shared import controls, db, health, logs, topology, tracing
from shared.consumer import JobsConsumer
from shared.errors import QueueMismatch, QueueMissing
from shared.leases import leases
from shared.presence import Presence
from shared.settings import settings

AWAY = (pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError, OSError)


class JobsBroker(RabbitmqBroker):
    """Consume from our queues. Publishing is ``shared.publisher``'s and, through rows, the relay's."""

    def __init__(self, url: str) -> None:
        super().__init__(url=url, middleware=[Boot()])
        self.pauses = controls.Pauses()
        self.use(url)

    def use(self, url: str) -> None:
        """Consume from the RabbitMQ at ``url`` from the next connection on."""
        self.parameters = topology.parameters(url)

    @property
    def consumer_class(self) -> type[JobsConsumer]:
        """Read with our consumer: it checks every envelope and binds each ack to its channel."""
        return JobsConsumer

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Know a queue, and ``ensure`` that it is there; there is no delay queue, since delays are rows."""
        if queue_name not in self.queues:
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            with pika.BlockingConnection(self.parameters) as connection:
                topology.ensure(connection, queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> JobsConsumer:
        """Open a consumer with the queue's own prefetch; a lost broker is met again at random times."""
        own = settings().queues[queue_name.removesuffix(".urgent")]
        try:
            return self._consumer(queue_name, own.prefetch or 2 * own.concurrency, timeout)
        except (*AWAY, QueueMismatch) as error:
            if isinstance(error, QueueMismatch):
                logs.get().critical("queue_mismatch", queue=queue_name, error=str(error))
            elif isinstance(error, QueueMissing):
                logs.get().error("queue_missing", queue=queue_name, error=str(error))
            db.stopping.wait(random.uniform(0, 2))  # noqa: S311  # jitter, not a secret
            raise dramatiq.ConnectionClosed(error) from None

    def _consumer(self, queue_name: str, prefetch: int, timeout: int) -> JobsConsumer:
        self.declare_queue(queue_name, ensure=True)
        return JobsConsumer(self, queue_name, prefetch, timeout)

    def read_back(self, queues: Iterable[str]) -> None:
        """Make sure that these queues are, or are made, as we want them. A broker that is away is asked by ``consume``.

        Raises:
            SystemExit: one of them is there with other arguments. Stock Dramatiq would say "ready" and try for ever.
        """
        try:
            for queue in sorted(queues):
                self.declare_queue(queue, ensure=True)
        except QueueMismatch as error:
            raise SystemExit(str(error)) from None
        except AWAY as error:
            logs.get().warning("broker_away", **logs.place(error))

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Refuse: a publish from inside a worker can be lost."""
        raise RuntimeError("use shared.enqueue.enqueue() in the job's transaction instead of actor.send()")


class Boot(dramatiq.Middleware):
    """Bring a worker process up and down: pool, threads, lease renewal, pauses, health port, and the end in time."""

    _end_in_time: threading.Timer | None = None

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        """Size the process by its queues' settings, after the fork."""
        queues = {q.removesuffix(".urgent") for q in worker.consumer_whitelist or broker.queues}
        if worker.consumer_whitelist:
            worker.consumer_whitelist |= {f"{queue}.urgent" for queue in queues}
        worker.worker_threads = sum(settings().queues[queue].concurrency for queue in queues)
        db.stopping.clear()
        logs.configure(settings().log_level)
        tracing.start("giftcard-jobs-worker")
        broker.read_back(worker.consumer_whitelist or broker.queues)
        db.open_pool(worker.worker_threads + 2)
        broker.pauses.start()
        leases.start(Presence(queues, worker.worker_threads))

    def after_worker_boot(self, broker: Any, worker: Any) -> None:
        """Answer probes from now on."""
        health.serve(health.WorkerProbe(worker))
        logs.get().info("worker_started", queues=sorted(worker.consumers), threads=worker.worker_threads)

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """Take no more work; what still runs after the grace is given back and the process ends."""
        db.stopping.set()
        self._end_in_time = threading.Timer(settings().shutdown_grace_s, leases.give_back_and_exit)
        self._end_in_time.daemon = True
        self._end_in_time.start()

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """Close what this process had open."""
        if self._end_in_time:
            self._end_in_time.cancel()
        leases.stop()
        health.stop()
        db.close_pool()
        tracing.stop()
        logs.get().info("worker_stopped")


def get_broker() -> JobsBroker:
    """Give this process's broker, made at the first call; it connects only when a worker starts."""
    from dramatiq import broker as module

    if not isinstance(module.global_broker, JobsBroker):
        dramatiq.set_broker(JobsBroker(settings().rabbitmq_url.get_secret_value()))
    assert isinstance(module.global_broker, JobsBroker)  # noqa: S101  # tells mypy what the line above made sure of
    return module.global_broker
