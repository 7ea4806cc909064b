"""Tell upstream what happened: facts from the outbox to the topic exchange, at least once, in order per card."""

from __future__ import annotations

import json
from typing import Any, LiteralString

from services.scheduler import turn
from shared import db, logs
from shared.events import EXCHANGE
from shared.failpoints import failpoint
from shared.packets import Packet
from shared.publisher import Publisher

BATCH = 500

NEXT: LiteralString = """
SELECT id, type, subject, data, created_at FROM events WHERE published_at IS NULL ORDER BY id LIMIT %s
"""

TOLD: LiteralString = "UPDATE events SET published_at = clock_timestamp() WHERE id = ANY(%s)"


def tell(publisher: Publisher) -> int:
    """Publish one batch of facts. Returns how many; 0 also while another scheduler does it."""
    with db.transaction() as connection:
        # Facts leave in the order of their numbers; those of one card are numbered under its lock.
        alone = turn.take(connection, "outbox")
        rows = connection.execute(NEXT, (BATCH,)).fetchall() if alone else []
        packets = publisher.publish([_packet(row) for row in rows])
        failpoint("outbox-published")
        told = []
        for row, packet in zip(rows, packets, strict=True):
            if packet.error and not packet.returned:  # one that comes back is one that nobody listens to
                logs.get().warning("events_not_published", error=packet.error)
                break  # what follows it must not overtake it
            told.append(row["id"])
        if told:
            connection.execute(TOLD, (told,))
    return len(told)


def _packet(row: dict[str, Any]) -> Packet:
    """Write the CloudEvents document; its ``sequence`` lets a reader see a gap or a repetition."""
    document = {
        "specversion": "1.0",
        "id": str(row["id"]),
        "source": "giftcard-jobs",
        "type": row["type"],
        "subject": str(row["subject"]),
        "time": row["created_at"].isoformat(),
        "datacontenttype": "application/json",
        "sequence": f"{row['id']:020d}",
        "data": row["data"],
    }
    return Packet(row["type"], json.dumps(document).encode(), str(row["id"]), exchange=EXCHANGE)


def declare(channel: Any) -> None:
    """Make the exchange, if it is not there. Who wants facts binds a queue of its own to it."""
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
