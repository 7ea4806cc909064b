"""Who may do what in the database: one group role per service, with just what its statements need.

Applied at each migration, so a privilege is changed here and nowhere else. docs/operations.md shows the same table.
"""

from __future__ import annotations

from typing import TypeAlias

Grants: TypeAlias = dict[str, dict[str, str]]

PREFIX = "giftcards_"

# Of a card without what is personal or secret: what sums, forecasts and invariants need.
_PLAIN_CARD = (
    "id, status, currency, balance, code_last4, expires_on, expires_tz, expires_at, expiry_version, expiry_hold,"
    " recipient_version, locale, time_zone, ledger_sequence, created_at, updated_at"
)

# What every worker does with its jobs: claim, renew, finish, hold keys, keep to the queue's rate, tell facts.
_WORKER = {
    "jobs": "SELECT, INSERT, UPDATE",
    "job_keys": "SELECT, INSERT",
    "queue_controls": "SELECT, INSERT (queue, next_slot_at), UPDATE (next_slot_at)",
    "events": "INSERT",
    "workers": "SELECT, INSERT, UPDATE, DELETE",
    "hold_key()": "EXECUTE",
    "enqueue_job()": "EXECUTE",
}
_DOOR = {"enqueue_job()": "EXECUTE", "cancel_job()": "EXECUTE", "reschedule_job()": "EXECUTE"}
# What reports of providers change, whether a webhook or a worker brings them.
_REPORTS = {
    "deliveries": "SELECT, INSERT, UPDATE",
    "suppressions": "SELECT, INSERT, UPDATE",
    "provider_events": "SELECT, INSERT, UPDATE",
    "events": "INSERT",
    "enqueue_job()": "EXECUTE",
}

# FOR SHARE and FOR UPDATE ask for UPDATE of some column: where nothing is to be changed, one that does not matter.
GRANTS: Grants = {
    "expiry": {
        **_WORKER,
        "gift_cards": "SELECT, UPDATE (status, balance, ledger_sequence, expiry_hold, updated_at)",
        "transactions": "INSERT",
        "deliveries": "SELECT, INSERT",
        "brakes": "SELECT, INSERT, UPDATE, DELETE",
    },
    "delivery": {
        **_WORKER,
        **_REPORTS,
        **_DOOR,
        "gift_cards": "SELECT, UPDATE (code_encrypted)",
        "breakers": "SELECT, INSERT, UPDATE, DELETE",
        "audit": "INSERT",
    },
    "webhooks": {
        **_REPORTS,
        "gift_cards": "SELECT, UPDATE (updated_at)",
        "jobs": "SELECT",
    },
    "cleanup": {
        **_WORKER,
        "jobs": "SELECT, INSERT, UPDATE, DELETE",
        "job_keys": "SELECT, INSERT, UPDATE (job_id)",
        "events": "SELECT, INSERT, DELETE",
        "wiretap": "SELECT (settled_until)",
        "refresh_tokens": "SELECT (id, parent_id, expires_at), UPDATE (parent_id), DELETE",
        "invariant_checks": "SELECT, INSERT, UPDATE",
        **dict.fromkeys(["bulk_actions", "bulk_action_items"], "SELECT, DELETE"),
        "gift_cards": f"SELECT ({_PLAIN_CARD})",
        **dict.fromkeys(["transactions", "deliveries", "schedules", "brakes", "breakers", "audit"], "SELECT"),
    },
    "scheduler": {
        "jobs": "SELECT, INSERT, UPDATE",
        "job_keys": "SELECT, INSERT",
        "wiretap": "SELECT, UPDATE",
        "hold_key()": "EXECUTE",
        "schedules": "SELECT, INSERT, UPDATE",
        "events": "SELECT, INSERT, UPDATE (published_at, number)",
        "event_sequences": "SELECT, INSERT, UPDATE",
        "deliveries": "SELECT, UPDATE (state, reason, updated_at)",
        "gift_cards": "SELECT (currency, balance, status, expiry_hold)",
        **dict.fromkeys(["queue_controls", "breakers", "brakes", "invariant_checks"], "SELECT"),
        "enqueue_job()": "EXECUTE",
    },
    "console": {
        **_DOOR,
        "job_of()": "EXECUTE",
        "jobs": "SELECT, UPDATE",
        "gift_cards": f"SELECT ({_PLAIN_CARD}, recipient_email, recipient_phone),"
        " UPDATE (recipient_email, recipient_phone, expiry_hold)",
        "deliveries": "SELECT, INSERT, UPDATE",
        "suppressions": "SELECT, INSERT, UPDATE",
        "queue_controls": "SELECT, INSERT, UPDATE",
        "breakers": "SELECT, UPDATE (probe_at)",
        "brakes": "SELECT, UPDATE (released_at, released_by, reason)",
        "audit": "SELECT, INSERT",
        "events": "SELECT, INSERT",
        "refresh_tokens": "SELECT (id, expires_at)",
        "login_attempts": "SELECT, INSERT, UPDATE, DELETE",
        **dict.fromkeys(["bulk_actions", "bulk_action_items"], "SELECT, INSERT, UPDATE"),
        "forecast": "SELECT, UPDATE (as_of, took_s, days)",
        **dict.fromkeys(["job_keys", "schedules", "transactions", "provider_events", "workers"], "SELECT"),
        "invariant_checks": "SELECT",
    },
    "upstream": _DOOR,
}

# Nobody may call these by default: the door's run with their owner's rights, and so do some triggers.
OURS = (
    "enqueue_job",
    "cancel_job",
    "reschedule_job",
    "job_of",
    "hold_key",
    "check_job",
    "json_misfit",
    "is_instant",
    "job_data",
    "ledger_check",
    "delivery_scheduled",
    "delivery_not_handed_over",
    "delivery_not_sent",
)


def role(service: str) -> str:
    """Name the group role of a service: give a login of its own to each process, and make it a member."""
    return PREFIX + service


def page() -> str:
    """Show all privileges as the table of docs/operations.md."""
    rows = ["| Role | May |", "|---|---|"]
    for service, grants in GRANTS.items():
        what = " · ".join(f"`{thing}` {privileges}" for thing, privileges in sorted(grants.items()))
        rows.append(f"| `{role(service)}` | {what} |")
    return "\n".join(rows)
