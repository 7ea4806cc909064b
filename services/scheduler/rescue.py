"""Bring back what went silent: jobs whose worker died, and messages that the broker lost."""

from __future__ import annotations

from typing import LiteralString

from shared import db, logs, metrics
from shared.failpoints import failpoint
from shared.messages import QUEUES
from shared.settings import settings

# A stall burns the attempt that it interrupted; a job that keeps killing its worker is failed, not looped. Nobody comes
# back to its delivery then, so that ends here, too: what had begun may have arrived, and is held for an operator.
STALLED: LiteralString = """
WITH silent AS (
    SELECT id, name, queue, gift_card_id, data ->> 'delivery_id' AS delivery_id, cancel_requested,
        stalls + 1 >= %(max_stalls)s OR attempt >= max_attempts AS given_up FROM jobs
    WHERE state = 'running' AND lease_until < (SELECT clock_timestamp()) -- asked once: its index ends the search
    ORDER BY lease_until LIMIT 500 FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE deliveries d SET updated_at = clock_timestamp(),
        state = CASE WHEN d.state IN ('sending', 'unconfirmed') THEN 'unconfirmed'
            WHEN s.cancel_requested THEN 'cancelled' ELSE 'failed' END,
        reason = CASE WHEN d.state IN ('sending', 'unconfirmed') THEN 'held'
            WHEN s.cancel_requested THEN 'cancelled' ELSE 'stalled' END
    FROM silent s WHERE (s.cancel_requested OR s.given_up) AND d.gift_card_id = s.gift_card_id
        AND (d.job_id = s.id OR d.id::text = s.delivery_id)
        AND d.state IN ('scheduled', 'queued', 'sending', 'unconfirmed')
    RETURNING d.id, d.gift_card_id, d.kind, d.channel, d.state, d.reason
), told AS (
    INSERT INTO events (type, subject, data)
    SELECT CASE state WHEN 'failed' THEN 'delivery.failed' ELSE 'delivery.held' END, gift_card_id,
        jsonb_build_object('delivery_id', id, 'kind', kind, 'channel', channel, 'reason', reason)
    FROM ended WHERE state <> 'cancelled'
), reported AS (
    INSERT INTO events (type, subject, data)
    SELECT 'job.failed', coalesce(gift_card_id, id),
        jsonb_build_object('job_id', id, 'name', name, 'queue', queue, 'reason', 'stalled')
    FROM silent WHERE given_up AND NOT cancel_requested
)
UPDATE jobs j SET
    stalls = j.stalls + 1, lease_until = NULL, run_at = clock_timestamp(), publishes = 0,
    state = CASE WHEN s.cancel_requested THEN 'cancelled' WHEN s.given_up THEN 'failed' ELSE 'scheduled' END,
    finished_at = CASE WHEN s.cancel_requested OR s.given_up THEN clock_timestamp() END,
    reason = CASE WHEN s.cancel_requested THEN 'cancelled' ELSE 'stalled' END
FROM silent s WHERE j.id = s.id
RETURNING j.id, j.queue, j.name, j.state, j.worker
"""

# A queue gives in order, so a message that is lost is overtaken by those published after it, or nothing moves at all.
# What waits behind the last that started is only late: copies of it would make a long queue longer. (What was published
# more than once says nothing about the order.) Each further copy waits twice as long.
LOST: LiteralString = """
WITH lanes AS (
    SELECT q.queue, p.priority FROM unnest(%(queues)s::text[]) AS q (queue), generate_series(0, 2) AS p (priority)
    WHERE clock_timestamp() - make_interval(secs => %(silent_s)s) > (
        SELECT queued_at FROM jobs j WHERE j.queue = q.queue AND j.priority = p.priority AND state = 'queued'
        ORDER BY queued_at LIMIT 1)
), moving AS (
    SELECT queue, priority, (
        SELECT max(queued_at) FROM (
            (SELECT queued_at FROM jobs j WHERE j.queue = lanes.queue AND state = 'running' AND publishes = 1
                AND (j.priority = 0) = (lanes.priority = 0)
                AND started_at > clock_timestamp() - make_interval(secs => %(silent_s)s)
                AND lease_until > (SELECT clock_timestamp())) -- asked once, so that its index passes over what is dead
            UNION ALL
            (SELECT queued_at FROM jobs j WHERE j.queue = lanes.queue AND state = 'succeeded' AND publishes = 1
                AND (j.priority = 0) = (lanes.priority = 0)
                AND finished_at > (SELECT clock_timestamp()) - make_interval(secs => %(silent_s)s)
            ORDER BY finished_at DESC LIMIT 50)
            UNION ALL
            (SELECT queued_at FROM jobs j WHERE j.queue = lanes.queue AND state = 'skipped' AND publishes = 1
                AND (j.priority = 0) = (lanes.priority = 0)
                AND finished_at > (SELECT clock_timestamp()) - make_interval(secs => %(silent_s)s)
            ORDER BY finished_at DESC LIMIT 50)
        ) started
    ) AS head FROM lanes
), lost AS ( -- only these are locked: no worker must wait for what merely waits for it
    SELECT silent.id FROM moving, LATERAL (
        SELECT id FROM jobs j WHERE j.queue = moving.queue AND j.priority = moving.priority AND state = 'queued'
            AND queued_at < coalesce(head, 'infinity')
            AND queued_at < clock_timestamp() - make_interval(secs => %(silent_s)s * power(2, least(publishes, 6) - 1))
        ORDER BY queued_at LIMIT 500 FOR UPDATE SKIP LOCKED
    ) silent
)
UPDATE jobs j SET state = 'scheduled' FROM lost WHERE j.id = lost.id RETURNING j.id
"""


def rescue() -> int:
    """Return stalled and lost jobs to the table's due rows. Returns how many."""
    with db.transaction() as connection:
        stalled = connection.execute(STALLED, {"max_stalls": settings().max_stalls}).fetchall()
        lost = connection.execute(LOST, {"silent_s": settings().silent_s, "queues": list(QUEUES)}).fetchall()
        failpoint("rescuing")
    for job in stalled:
        metrics.stalled.labels(job["queue"], job["name"]).inc()
        facts = {"job_id": str(job["id"]), "queue": job["queue"], "actor": job["name"], "worker": job["worker"]}
        logs.get().warning("stalled", **facts, state=job["state"])
    if lost:
        logs.get().warning("published_again", jobs=len(lost))
    return len(stalled) + len(lost)
