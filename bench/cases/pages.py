"""Case l: each page of the console over HTTP, with so many jobs in the table."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from html import unescape
from typing import LiteralString

import httpx2
import psycopg
from psycopg.sql import SQL, Identifier

from bench import ours
from bench.frame import Case, Sample, Unmeasured, Way, percentile
from bench.lab import Lab
from bench.place import Place
from deploy.local import database
from services.console.web.users import hashed

LOOKS = 40
NEXT = "next"  # the page that the one before leads to
PASSWORD = "of this run only"  # noqa: S105  # of a server that ends with it
USERS = {"bench": {"role": "operator"}}

# A shop in December: most has ended, the more the later, a tenth lies ahead; each failure has a text of its own.
FILL: LiteralString = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO gift_cards (id, currency, balance, code_encrypted, code_last4, expires_on, expires_at, recipient_email,
                        ledger_sequence)
SELECT md5(n::text)::uuid, 'EUR', 25, 'x', upper(right(md5(n::text), 4)), current_date + 1 + n % 365,
    current_date + 2 + n % 365, 'ada' || n || '@example.com', 1
FROM generate_series(0, {cards} - 1) n;
INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state, sent_at)
SELECT 'gift:' || id, id, 'gift', 'email', 1, CASE WHEN random() < 0.001 THEN 'unconfirmed' ELSE 'sent' END,
    clock_timestamp() - random() * interval '30 days'
FROM gift_cards;
INSERT INTO jobs (name, queue, state, gift_card_id, data, attempt, max_attempts, run_at, enqueued_at, started_at,
                  finished_at, queued_at, lease_until, worker, reason, error_type, error)
SELECT ('{{expire_gift_card,send_expiry_reminder,deliver_gift_card,send_gift_card_email,send_gift_card_sms}}'::text[])
        [1 + n / 200 % 5],
    ('{{gift-card-expiry,expiry-reminders,scheduled-delivery,email-delivery,sms-delivery}}'::text[])[1 + n / 200 % 5],
    state, card, jsonb_build_object('gift_card_id', card), 1, 4,
    CASE state WHEN 'scheduled' THEN at + interval '61 days' ELSE at END, at, at,
    CASE WHEN state NOT IN ('scheduled', 'queued', 'running') THEN at + interval '1 second' END, at,
    CASE state WHEN 'running' THEN clock_timestamp() + interval '1 minute' END, 'pod-' || n % 40,
    CASE state WHEN 'failed' THEN 'retries_exhausted' WHEN 'skipped' THEN 'redeemed' WHEN 'rejected' THEN 'invalid' END,
    CASE state WHEN 'failed' THEN 'TimeoutError' END,
    CASE state WHEN 'failed' THEN 'smtp.py:' || n % 30 || E' send: connection\n' || md5(n::text)
        WHEN 'rejected' THEN 'gift_card_id: Field required' WHEN 'skipped' THEN 'status REDEEMED' END
FROM (
    SELECT n, md5((n % {cards})::text)::uuid AS card, now() - (n::float / {jobs}) ^ 2 * interval '60 days' AS at,
        CASE WHEN n <= 200 THEN 'running' WHEN n <= {jobs} / 250 THEN 'queued' WHEN n % 200 < 2 THEN 'failed'
            WHEN n % 200 = 2 THEN 'rejected' WHEN n % 10 = 3 THEN 'scheduled' WHEN n % 10 = 4 THEN 'skipped'
            WHEN n % 100 = 6 THEN 'cancelled' ELSE 'succeeded' END AS state
    FROM generate_series(1, {jobs}) n
) life;
INSERT INTO audit (at, who, action, subject, reason)
SELECT clock_timestamp() - n * interval '1 minute', 'op-' || n % 9, 'job.retried', md5(n::text)::uuid, 'looked into'
FROM generate_series(1, {jobs} / 100) n;
INSERT INTO suppressions (channel, address_hash, reason)
SELECT 'email', md5(n::text), 'hard_bounce' FROM generate_series(1, {jobs} / 100) n;
WITH bulk AS (
    INSERT INTO bulk_actions (act, search, per_s, prepared_by) VALUES ('retry', '{{}}', 100, 'op-1') RETURNING id
)
INSERT INTO bulk_action_items (bulk_id, job_id, refusal)
SELECT bulk.id, j.id, CASE WHEN state <> 'failed' THEN 'it has not failed' END
FROM bulk, LATERAL (SELECT id, state FROM jobs LIMIT 100000) j;
RESET session_replication_role;
"""
INDEXES: LiteralString = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)::bytea FROM pg_index
WHERE indrelid = 'jobs'::regclass AND NOT indisunique
"""
# Each screen, each filter by itself and together, and what is rare; {…} is a value of ONE.
PAGES = {
    "sign in": "/login",
    "overview": "/",
    "jobs": "/jobs",
    "jobs, any time": "/jobs?state=",
    "jobs by state": "/jobs?state=waiting",
    "jobs by name": "/jobs?state=&name={name}",
    "jobs by queue": "/jobs?state=&queue={queue}",
    "jobs by time": "/jobs?state=&since={since}&until={past}",
    "jobs by reason": "/jobs?state=&reason=nothing_due",
    "jobs by state and name": "/jobs?state=succeeded&name=send_gift_card_email",
    "jobs, rare state of a queue": "/jobs?state=cancelled&queue=sms-delivery",
    "jobs by a common error": "/jobs?state=failed&error=connection",
    "jobs by a rare error": "/jobs?error={rare}",
    "jobs by an error that is not there": "/jobs?error=no+such+error&state=",
    "jobs of a card": "/jobs?card={card}&state=",
    "jobs, all filters": "/jobs?state=failed&name={name}&queue={queue}&card={card}&since=2020-01-01T00:00&error=smtp",
    "jobs, far back": "/jobs?state=past&until={past}",
    "jobs, page after page": NEXT,
    "job": "/jobs/{job}",
    "failed": "/failed",
    "failed of a name": "/failed?name={name}",
    "bulk": "/bulk",
    "bulk of 100,000": "/bulk/{bulk}",
    "workers": "/workers",
    "schedules": "/schedules",
    "cards": "/cards?find={last4}",
    "card": "/cards/{card}",
    "deliveries": "/deliveries",
    "deliveries by state": "/deliveries?state=bounced&channel=sms",
    "deliveries of a card": "/deliveries?card={card}",
    "suppressions": "/suppressions",
    "suppressions by channel": "/suppressions?channel=sms&lifted=true",
    "templates": "/templates",
    "template": "/templates/en/gift_card",
    "forecast": "/forecast",
    "forecast of a quarter": "/forecast?days=92",
    "audit": "/audit",
    "audit by all": "/audit?who=op-3&action=job.retried&subject={job}",
    "audit, rare": "/audit?who=nobody",
}
ONE: LiteralString = """
SELECT j.id AS job, j.name, j.queue, gift_card_id AS card, right(error, 12) AS rare, code_last4 AS last4,
    to_char(clock_timestamp() - interval '50 days', 'YYYY-MM-DD"T"HH24:MI') AS past,
    to_char(clock_timestamp() - interval '51 days', 'YYYY-MM-DD"T"HH24:MI') AS since,
    (SELECT id FROM bulk_actions LIMIT 1) AS bulk
FROM jobs j JOIN gift_cards c ON c.id = gift_card_id WHERE state = 'failed' LIMIT 1
"""


def pages(lab: Lab, count: int) -> Sample:
    """Open each page so many times, one after the other, and give the slowest page's p95 with each page's own."""
    with lab.place(f"pages_{count}", partial(fill, jobs=count)) as place, _console(lab, place) as client:
        [one] = place.sql(ONE)
        with place.cost() as cost:
            taken = {name: _looks(client, path.format(**one)) for name, path in PAGES.items()}
        p95 = {f"{name}.p95_ms": percentile(ms, 0.95) for name, ms in taken.items()}
        return Sample(0, 0, cost=cost, more={"p95_ms": max(p95.values()), **p95})


def fill(url: str, jobs: int) -> None:
    """Make our tables, and so many jobs in them."""
    database.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        indexes = connection.execute(INDEXES).fetchall()
        for name, _ in indexes:  # made at once they take a tenth of the time
            connection.execute(SQL("DROP INDEX {}").format(Identifier(name)))
        connection.execute(FILL.format(jobs=jobs, cards=max(100, jobs // 20)).encode())
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE")  # as autovacuum would, in time


@contextmanager
def _console(lab: Lab, place: Place) -> Iterator[httpx2.Client]:
    port, users = lab.port("console"), {"bench": USERS["bench"] | {"password_hash": hashed(PASSWORD)}}
    own = {"CONSOLE_PORT": str(port), "CONSOLE_USERS": json.dumps(users), "CONSOLE_KEYS": '["of this run"]'}
    address = f"http://127.0.0.1:{port}"
    env = {f"JOBS_{name}": value for name, value in own.items()} | {"JOBS_CONSOLE_URL": address}
    place.start("console", [sys.executable, "-m", "services.console.app"], env)
    with httpx2.Client(base_url=address, timeout=lab.limit_s) as client:
        if not lab.until(lambda: _lives(client)):
            raise place.failed("console")
        csrf = client.get("/login").text.partition('name="csrf" value="')[2].partition('"')[0]
        client.post("/login", data={"csrf": csrf, "login": "bench", "password": PASSWORD})
        yield client


def _lives(client: httpx2.Client) -> bool:
    with suppress(httpx2.TransportError):
        return client.get("/livez").status_code == 200
    return False


def _looks(client: httpx2.Client, path: str) -> list[float]:
    """Time a page after one look that does not count."""
    ms, following = [], "/jobs"
    for _ in range(LOOKS + 1):
        wanted = following if path == NEXT else path
        began = time.perf_counter()
        answer = client.get(wanted)
        ms.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200:
            said = answer.text.partition("<h1>")[2].partition("</main>")[0]
            raise Unmeasured(f"{wanted} answered {answer.status_code} {' '.join(said.split())}")
        following = unescape(answer.text.partition('rel="next" href="')[2].partition('"')[0]) or "/jobs"
    return ms[1:]


CASES = [
    Case(
        "l",
        f"pages of the console, each opened {LOOKS} times",
        "jobs",
        10_000_000,
        [Way(ours.NAME, pages)],
        least=5_000,
    )
]
