"""Commands on a card's delivery. Each becomes a message to the delivery service, which asks its own rules again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from services.console import actions, cards, masks, tables
from services.console.session import As, CardId, Refused, Why, connected, known, operator
from shared import db
from shared.addresses import email_address, phone_number
from shared.enqueue import enqueue
from shared.errors import Rejected
from shared.messages import (
    CancelDelivery,
    CorrectRecipient,
    Message,
    Priority,
    RescheduleDelivery,
    ResendGiftCard,
    Timed,
)
from shared.wall_time import zone

CHANNELS = ("email", "sms")
By = Annotated[str, typer.Option("--by", help="email or sms.")]
Zone = Annotated[str | None, typer.Option("--zone", help="IANA zone of a TIME without an offset.")]


def resend(card: CardId, reason: Why, by: By = "email", who: As = None) -> None:
    """Send a gift once more to its present recipient, although it was sent or has failed.

    Example: resend 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08 --by sms --reason "she lost the mail"
    """
    known(by, "channel", CHANNELS)
    with connected() as connection:
        cards.look(connection, card)
        line = ask(connection, ResendGiftCard, card, who, reason, method=by)
    tables.say(line)


def cancel_delivery(card: CardId, reason: Why, who: As = None) -> None:
    """Take back whatever of a card's gift has not been sent: scheduled, waiting, or up to its next step.

    Example: cancel-delivery 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08 --reason "order refunded"
    """
    with connected() as connection:
        cards.look(connection, card)
        line = ask(connection, CancelDelivery, card, who, reason)
    tables.say(line)


def reschedule(
    card: CardId,
    at: Annotated[str, typer.Argument(metavar="TIME|now", help="ISO 8601, with an offset or with --zone.")],
    reason: Why,
    zone_name: Zone = None,
    who: As = None,
) -> None:
    """Move a card's delivery that has not begun.

    Example: reschedule 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08 2026-12-25T09:00 --zone Europe/Berlin --reason "her wish"

    Example: reschedule 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08 now --reason "she is waiting"
    """
    with connected() as connection:
        found = cards.look(connection, card)
        wish = {} if at == "now" else _wish(at, zone_name, found["time_zone"])
        line = ask(connection, RescheduleDelivery, card, who, reason, **wish)
    tables.say(line)


def correct(
    card: CardId,
    reason: Why,
    email: Annotated[str | None, typer.Option(help="The new address; better typed when asked for.")] = None,
    phone: Annotated[str | None, typer.Option(help="The new number, such as +44 7400 123456.")] = None,
    who: As = None,
) -> None:
    """Correct a card's recipient. A gift that went to the former one is sent to the new one, too.

    Without --email and --phone both are asked for, which keeps them out of the shell's history.

    Example: correct 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08 --reason "typing error of the buyer"
    """
    if email is None and phone is None:
        email = typer.prompt("E-mail (empty: as it is)", default="", show_default=False)
        phone = typer.prompt("Phone (empty: as it is)", default="", show_default=False)
    try:
        new = {"email": email_address(email) if email else None, "phone": phone_number(phone) if phone else None}
    except Rejected as error:
        raise Refused(f"{error.reason}: {error.detail}") from None
    with connected() as connection:
        before = cards.look(connection, card)
        after = connection.execute(actions.CORRECT, new | {"card": card}).fetchone()
        if after is None or after["recipient_version"] == before["recipient_version"]:
            raise Refused("nothing changes: the card has this recipient")
        version: int = after["recipient_version"]
        line = ask(connection, CorrectRecipient, card, who, reason, recipient_version=version)
    to = ", ".join(filter(None, (masks.masked(after["recipient_email"]), masks.masked(after["recipient_phone"]))))
    tables.say(f"the recipient is {to} now, version {version}")
    tables.say(line)


def ask(connection: db.Connection, kind: type[Message], card: UUID, who: str | None, why: str, **fields: object) -> str:
    """Ask for a job before all that waits, and keep who asked and why, in one transaction.

    Returns:
        A line to print once it is committed.

    Raises:
        Refused: name or reason may not be kept as they are, or the time is past.
    """
    by = operator(who)
    try:
        message = kind.model_validate({"gift_card_id": card, "requested_by": by, "reason": why, **fields})
    except ValidationError as error:
        raise Refused(_fault(error)) from None
    if isinstance(message, Timed) and (at := message.wished_for()) and at < datetime.now(UTC):
        raise Refused(f"{at:%Y-%m-%d %H:%M} UTC is past: to deliver at once, say 'now'")
    job_id = enqueue(connection, message, priority=Priority.URGENT, source="console")
    actions.keep(connection, f"{message.name}.asked", str(card), by=by, why=why, job=str(job_id))
    return f"{message.name} is asked for: job {job_id}; 'story {card}' tells what comes of it"


def _fault(error: ValidationError) -> str:
    names = [str(part) for fault in error.errors() for part in fault["loc"]]
    if "reason" in names:
        return "--reason: 2 to 200 characters, not beginning with a digit, without @ and +: it is kept for ever"
    if "requested_by" in names:
        return "your login cannot be kept as it is: give one with --as, of letters, digits, _ . : -"
    return "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())


def _wish(text: str, zone_name: str | None, at_home: str) -> dict[str, object]:
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo:
            return {"deliver_at": given}
        if zone_name:
            return {"deliver_local": given, "deliver_tz": zone(zone_name).key}
    except ValueError as error:
        raise Refused(f"{text!r} is no time: {error}; write 2026-12-25T09:00 with --zone, or with an offset") from None
    raise Refused(f"{text!r} is a time where? Add --zone {at_home} (where the card's recipient lives), or an offset")
