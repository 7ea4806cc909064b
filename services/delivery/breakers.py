"""Circuit breakers: a provider that refuses us (credentials, policy) gets no more work until a probe passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from services.delivery.providers import ProviderError
from shared import db, logs, metrics

# The first probe comes after a minute, then at twice the time, up to half an hour.
OPEN: LiteralString = """
INSERT INTO breakers AS b (provider, code, said, probe_at)
VALUES (%(provider)s, %(code)s, %(said)s, clock_timestamp() + interval '1 minute')
ON CONFLICT (provider) DO UPDATE SET code = excluded.code, said = excluded.said, failures = b.failures + 1,
    probe_at = clock_timestamp() + least(interval '30 minutes', interval '1 minute' * power(2, b.failures))
"""

CLOSE: LiteralString = "DELETE FROM breakers WHERE provider = %(provider)s"

# The queue of a channel rests while no provider is left for it; see services/scheduler/relay.py.
HOLD: LiteralString = """
UPDATE breakers SET holds = CASE WHEN cardinality(%(providers)s::text[]) = (
        SELECT count(*) FROM breakers b WHERE b.provider = ANY(%(providers)s)) THEN %(queue)s END
WHERE provider = ANY(%(providers)s)
"""

OPEN_NOW: LiteralString = "SELECT provider FROM breakers WHERE provider = ANY(%s)"

# Whoever moves the probe's time forward makes the probe; all others wait for it.
PROBE: LiteralString = """
UPDATE breakers SET probe_at = clock_timestamp() + interval '1 minute'
WHERE provider = ANY(%s) AND probe_at <= clock_timestamp() RETURNING provider
"""


def usable(connection: db.Connection, providers: Sequence[str]) -> list[str]:
    """Give the providers that may be used now, in order: those with no open breaker, and those this call probes."""
    names = list(providers)
    broken = {row["provider"] for row in connection.execute(OPEN_NOW, (names,))}
    if not broken:
        return names
    probed = {row["provider"] for row in connection.execute(PROBE, (names,))}
    return [name for name in names if name not in broken or name in probed]


def open_(connection: db.Connection, provider: str, error: ProviderError, providers: Sequence[str], queue: str) -> None:
    """Open a provider's breaker, or keep it open for longer."""
    connection.execute(OPEN, {"provider": provider, "code": error.code, "said": error.excerpt})
    connection.execute(HOLD, {"providers": list(providers), "queue": queue})
    metrics.breaker_open.labels(provider).set(1)
    logs.get().error("breaker_open", provider=provider, code=error.code)


def close(connection: db.Connection, provider: str, providers: Sequence[str], queue: str) -> None:
    """Close a provider's breaker after something got through, and let the queue go on."""
    if connection.execute(CLOSE, {"provider": provider}).rowcount:
        connection.execute(HOLD, {"providers": list(providers), "queue": queue})
        metrics.breaker_open.labels(provider).set(0)
        logs.get().info("breaker_closed", provider=provider)
