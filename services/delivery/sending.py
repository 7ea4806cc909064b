"""Send one delivery: decide under lock, write the attempt down, call, write the answer down; ask about the unknown."""

from __future__ import annotations

import time
from uuid import UUID

from services.delivery import deliveries
from services.delivery.channels import Channel
from services.delivery.deliveries import Delivery
from services.delivery.providers import Accepted, ErrorClass, ProviderError
from shared import db, metrics
from shared.actor import Outcome, Skipped
from shared.cards import Card, read, recipient_changed
from shared.errors import PermanentError, Rejected, RetryLater, StaleJob, Transient
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.settings import settings

SENDER_WAIT_S = 60  # our side is refused (credentials, registration): nobody's attempt is burnt while it is mended
BUSY_WAIT_S = 10


def deliver(
    job: Job, card_id: UUID, channel: Channel, *, hint: str | None, template_id: str, delivery_id: UUID | None
) -> Outcome:
    """Bring one message to one person, at most once while that can be known.

    Raises:
        Rejected, PermanentError: it can never be sent as it is.
        Transient, RetryLater: not now.
    """
    with job.step() as connection:
        card = read(connection, card_id)
        delivery = _locked(connection, job, card, channel, template_id, delivery_id)
        refused = _refusal(connection, job, card, delivery, hint)
        to = None if refused else _address(connection, card, channel, delivery)
    if isinstance(refused, Skipped):
        return None if refused.reason == "sent_by_this_job" else refused
    if isinstance(to, Rejected):
        raise to
    assert to is not None  # noqa: S101  # neither refused nor rejected
    if not (delivery.outcome_unknown and _settled(job, card, channel, delivery, to)):
        began = time.monotonic()
        _begin(job, card, channel, delivery)
        _call(job, card, channel, delivery, to, began)
    return None


def _locked(
    connection: db.Connection, job: Job, card: Card, channel: Channel, template_id: str, delivery_id: UUID | None
) -> Delivery:
    """Give the delivery this job is about; a gift to a replaced recipient becomes one to the present recipient."""
    named = deliveries.find(connection, job, card, delivery_id) if delivery_id else None
    if named is None and template_id == "expiry_reminder":
        raise Rejected("no_delivery", "a reminder is asked for by send_expiry_reminder, which makes its delivery")
    if named is not None:
        if named.state not in ("scheduled", "queued") or not _replaced(named, card):
            return named
        deliveries.end(connection, named, "skipped", "recipient_changed")
    return deliveries.gift(connection, job, card, channel.name, template_id)


def _replaced(delivery: Delivery, card: Card) -> bool:
    return delivery.kind == "gift" and delivery.recipient_version != card.recipient_version


def _refusal(connection: db.Connection, job: Job, card: Card, delivery: Delivery, hint: str | None) -> Skipped | None:
    """Name the rule by which nothing is sent, and write it down; None when there is none."""
    if delivery.state in ("sent", "delivered", "bounced"):
        return Skipped("sent_by_this_job" if delivery.job_id == job.id else "already_sent")
    reason = _rule(connection, card, delivery, hint)
    if reason:
        # An attempt whose end nobody knows stays unconfirmed: it may have arrived.
        deliveries.end(connection, delivery, "unconfirmed" if delivery.outcome_unknown else "skipped", reason)
        return Skipped(reason)
    return None


def _rule(connection: db.Connection, card: Card, delivery: Delivery, hint: str | None) -> str | None:
    if recipient_changed(card, delivery.channel, hint) or _replaced(delivery, card):
        return "recipient_changed"
    if delivery.expiry_version not in (None, card.expiry_version):
        return "extended"
    if card.ended:
        return card.ended
    address = card.address(delivery.channel)
    return "suppressed" if address and deliveries.suppression(connection, delivery.channel, address) else None


def _address(connection: db.Connection, card: Card, channel: Channel, delivery: Delivery) -> str | Rejected:
    try:
        address = card.address(channel.name)
        if not address:
            raise Rejected("no_address", f"the card has no recipient for {channel.name}: give it one, then send again")
        return channel.address(address)
    except Rejected as error:
        deliveries.end(connection, delivery, "failed", error.reason)
        return error


def _settled(job: Job, card: Card, channel: Channel, delivery: Delivery, to: str) -> bool:
    """Deal with an attempt whose end nobody knows: wait, ask, then let one resend happen, or hold.

    Returns:
        True when it turns out to have been sent; False when it may be sent once more.
    """
    if delivery.busy:
        raise RetryLater("busy", after_s=BUSY_WAIT_S, detail="another job is sending this delivery")
    assert delivery.sending_at is not None  # noqa: S101  # set with the state
    wait_s = settings().settle_s - (delivery.now - delivery.sending_at).total_seconds()
    if wait_s > 0:
        _record(job, delivery, "unconfirmed", "settling")
        raise RetryLater("settling", after_s=wait_s, detail="the provider did not say whether it took the message")
    if channel.ask:
        try:
            found = channel.ask(card, delivery, to, delivery.sending_at)
        except ProviderError as error:
            raise RetryLater("asking", after_s=error.after_s or SENDER_WAIT_S, detail=error.code) from None
        if found:
            _record(job, delivery, "sent", result=found, card=card)
            return True
    if delivery.resends:
        _record(job, delivery, "unconfirmed", "held")
        raise PermanentError("unconfirmed", "sent twice without an answer: look whether it arrived, then decide")
    return False


def _begin(job: Job, card: Card, channel: Channel, delivery: Delivery) -> None:
    """Commit that an attempt begins; if the card or the job has changed since it was read, begin anew."""
    with job.step() as connection:
        now = read(connection, card.id)
        if (now.recipient_version, now.expiry_version, now.status, now.balance) != (
            card.recipient_version, card.expiry_version, card.status, card.balance
        ):  # fmt: skip
            raise RetryLater("card_changed", after_s=0)
        if not deliveries.start(connection, job, delivery, card, channel.message_id(delivery)):
            raise RetryLater("busy", after_s=BUSY_WAIT_S, detail="another job has just begun to send this delivery")


def _call(job: Job, card: Card, channel: Channel, delivery: Delivery, to: str, began: float) -> None:
    failpoint("sending")
    if time.monotonic() - began > settings().lease_s / 2:
        raise StaleJob  # this process was stopped meanwhile; another one has the job by now
    try:
        accepted = channel.send(card, delivery, to)
    except ProviderError as error:
        metrics.attempts.labels(channel.name, error.error_class.value).inc()
        _refused(job, delivery, error)
    else:
        failpoint("accepted")
        metrics.attempts.labels(channel.name, "accepted").inc()
        _record(job, delivery, "sent", result=accepted, card=card)


def _refused(job: Job, delivery: Delivery, error: ProviderError) -> None:
    """Turn what the provider said into the delivery's state and the job's outcome."""
    reason, said = error.error_class.value, f"{error.code}: {error.excerpt}"
    match error.error_class:
        case ErrorClass.UNKNOWN:
            metrics.unconfirmed.labels(delivery.channel).inc()
            _record(job, delivery, "unconfirmed", "settling", result=error)
            raise RetryLater("settling", after_s=settings().settle_s, detail=said)
        case ErrorClass.RATE_LIMITED | ErrorClass.SENDER:
            _record(job, delivery, "queued", reason, result=error)
            raise RetryLater(reason, after_s=error.after_s or SENDER_WAIT_S, detail=said)
        case ErrorClass.TRANSIENT:
            last = job.attempt >= job.max_attempts
            _record(job, delivery, "failed" if last else "queued", reason, result=error)
            raise Transient(reason, said, after_s=error.after_s)
        case _:
            _record(job, delivery, "failed", reason, result=error)
            raise PermanentError(reason, said)


def _record(
    job: Job,
    delivery: Delivery,
    state: str,
    reason: str | None = None,
    *,
    result: Accepted | ProviderError | None = None,
    card: Card | None = None,
) -> None:
    """Write an answer down, however long the database is away: what happened outside cannot be taken back."""

    def once() -> None:
        with job.step(cancellable=False) as connection:
            deliveries.end(connection, delivery, state, reason, result=result)
            if card and state == "sent":
                deliveries.tell(connection, "delivery.sent", card.id, delivery)

    db.persist(once)
