"""Tell upstream what happened: facts from the outbox to the topic exchange, at least once, in order per card."""

from __future__ import annotations

from typing import Any, LiteralString

from services.scheduler import turn
from shared import db, facts, logs
from shared.events import EXCHANGE
from shared.failpoints import failpoint
from shared.publisher import Publisher

BATCH = 500

# Count the next facts of each subject, in the order in which they were written: what was rolled back leaves no gap.
# Only once all that are counted are told, so that one that was committed late overtakes none of its card's.
COUNT: LiteralString = """
WITH fresh AS (
    SELECT id, subject, row_number() OVER (PARTITION BY subject ORDER BY id) AS nth,
        count(*) OVER (PARTITION BY subject) AS facts
    FROM (
        SELECT id, subject FROM events WHERE number IS NULL
            AND (SELECT min(id) FROM events WHERE published_at IS NULL AND number IS NOT NULL) IS NULL -- by its index
        ORDER BY id LIMIT %s
    ) oldest
), counted AS (
    INSERT INTO event_sequences AS s (subject, last) SELECT subject, count(*) FROM fresh GROUP BY subject
    ON CONFLICT (subject) DO UPDATE SET last = s.last + excluded.last RETURNING subject, last
)
UPDATE events SET number = counted.last - fresh.facts + fresh.nth
FROM fresh JOIN counted USING (subject) WHERE events.id = fresh.id
"""

NEXT: LiteralString = """
SELECT id, type, subject, number, data, created_at FROM events
WHERE published_at IS NULL AND number IS NOT NULL ORDER BY id LIMIT %s
"""

# One time for the whole batch, so that what was told can be told again in the same order.
TOLD: LiteralString = "UPDATE events SET published_at = statement_timestamp() WHERE id = ANY(%s)"


def tell(publisher: Publisher) -> int:
    """Publish one batch of facts. Returns how many; 0 also while another scheduler does it."""
    with db.transaction() as connection:  # committed first: a fact that is told again has the number that it had
        if turn.take(connection, "outbox"):
            connection.execute(COUNT, (BATCH,))
    with db.transaction() as connection:
        alone = turn.take(connection, "outbox")
        rows = connection.execute(NEXT, (BATCH,)).fetchall() if alone else []
        packets = publisher.publish([facts.packet(row) for row in rows])
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


def declare(channel: Any) -> None:
    """Make the exchange, if it is not there. Who wants facts binds a queue of its own to it."""
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
