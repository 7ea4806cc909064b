"""Wrong passwords, counted in PostgreSQL by login and by address, so that a lock holds with any number of replicas."""

from __future__ import annotations

from typing import LiteralString

from psycopg.types.json import Jsonb

from shared import db

# Wrong ones that cost nothing yet. An address may be that of a whole office.
FREE = {"login": 4, "from": 29}

LOCKED: LiteralString = """
SELECT ceil(extract(epoch FROM max(locked_until) - clock_timestamp()))::integer AS wait_s FROM login_attempts
WHERE key = ANY(%(keys)s) AND locked_until > clock_timestamp()
"""

# Each wrong one after the free ones locks twice as long as the one before: 30 s, then up to 15 minutes. An hour of
# quiet forgets them all.
COUNT: LiteralString = """
INSERT INTO login_attempts AS a (key, failures)
SELECT key, 1 FROM unnest(%(keys)s::text[]) AS k (key) ORDER BY key
ON CONFLICT (key) DO UPDATE SET last_at = clock_timestamp(),
    failures = CASE WHEN a.last_at < clock_timestamp() - interval '1 hour' THEN 1 ELSE a.failures + 1 END,
    locked_until = CASE WHEN a.failures >= (%(free)s::jsonb ->> split_part(a.key, ':', 1))::integer
            AND a.last_at >= clock_timestamp() - interval '1 hour'
        THEN clock_timestamp() + make_interval(secs => least(900,
            30 * 2 ^ least(10, a.failures - (%(free)s::jsonb ->> split_part(a.key, ':', 1))::integer))) END
"""

OLD: LiteralString = "DELETE FROM login_attempts WHERE last_at < clock_timestamp() - interval '1 day'"
FORGET: LiteralString = "DELETE FROM login_attempts WHERE key = %s"


class Locked(Exception):
    """Say that no password is checked now, not even a right one."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many wrong passwords: try again in {wait_s} s")
        self.wait_s = wait_s


def refuse_locked(connection: db.Connection, login: str, address: str) -> None:
    """Raise Locked while this login or this address is locked."""
    row = connection.execute(LOCKED, {"keys": _keys(login, address)}).fetchone()
    if row and row["wait_s"]:
        raise Locked(row["wait_s"])


def count(connection: db.Connection, login: str, address: str) -> None:
    """Count a wrong password, and forget those of former days."""
    connection.execute(OLD)
    connection.execute(COUNT, {"keys": _keys(login, address), "free": Jsonb(FREE)})


def forget(connection: db.Connection, login: str, _: str) -> None:
    """Forget the wrong passwords of a login that has given the right one. Those of its address stay counted."""
    connection.execute(FORGET, (_keys(login, "")[0],))


def _keys(login: str, address: str) -> list[str]:
    return [f"login:{login}", f"from:{address}"]
