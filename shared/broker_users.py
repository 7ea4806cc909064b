"""Who may do what on the broker: a user for each service, with the patterns that RabbitMQ asks for.

Workers read their own queues and write nothing: what they lead to is a row. Only ``topology`` may declare.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.messages import QUEUES

WORKERS = {
    "expiry": ("gift-card-expiry", "expiry-reminders"),
    "delivery": ("scheduled-delivery", "email-delivery", "sms-delivery"),
    "cleanup": ("cleanup-tokens", "maintenance"),
}
DEAD = r"(\.XQ)?"
NOTHING = "^$"
EVENTS = r"giftcards\.events"
COPIES = r"giftcards\.wiretap"
# Publishing to a queue by its name goes through the default exchange, which RabbitMQ calls amq.default here.
TO_QUEUES = r"^amq\.default$"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a user may declare, publish to and consume from, as regular expressions of names."""

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING


def _queues(names: tuple[str, ...], more: str = "") -> str:
    return rf"({'|'.join(names)})(\.urgent)?{more}"


PERMISSIONS = {
    **{service: Permissions(read=f"^{_queues(queues)}$") for service, queues in WORKERS.items()},
    "scheduler": Permissions(write=rf"^(amq\.default|{EVENTS})$", read=rf"^{COPIES}$"),
    # To name a dead-letter exchange, a queue's maker must be able to read the queue and to write to the exchange.
    "topology": Permissions(rf"^({_queues(QUEUES, DEAD)}|{EVENTS}|{COPIES})$", TO_QUEUES, f"^{_queues(QUEUES)}$"),
    "upstream": Permissions(write=TO_QUEUES),
    "console": Permissions(write=TO_QUEUES),
}


def page() -> str:
    """Show all permissions as the table of docs/operations.md."""
    rows = ["| User | configure | write | read |", "|---|---|---|---|"]
    for user, may in PERMISSIONS.items():
        patterns = (pattern.replace("|", "\\|") for pattern in (may.configure, may.write, may.read))
        rows.append(f"| `{user}` | {' | '.join(f'`{pattern}`' for pattern in patterns)} |")
    return "\n".join(rows)
