"""Send one delivery: decide under lock, write the attempt down, call, write the answer down; ask about the unknown."""

from __future__ import annotations

import time
from uuid import UUID

from services.delivery import bounces, breakers, deliveries, fallback, hours, last_moment
from services.delivery.channels import Channel, Prepared
from services.delivery.decision import Refused, decide
from services.delivery.deliveries import Delivery
from services.delivery.discretion import discreetly
from services.delivery.providers import TWILIO_TRIES, Accepted, ErrorClass, ProviderError
from services.delivery.reports import inbox
from shared import db, facts, metrics
from shared.actor import Outcome
from shared.cards import Card, read
from shared.errors import PermanentError, RetryLater, Transient
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.messages import hint
from shared.settings import settings

BUSY_WAIT_S = 10
PROBE_WAIT_S = 10
LIMIT_WAIT_S = 60


def deliver(
    job: Job, card_id: UUID, channel: Channel, *, given: str | None, template_id: str, delivery_id: UUID | None
) -> Outcome:
    """Bring one message to one person, at most once while that can be known.

    Parameters:
        given: fingerprint of the recipient whom the message names; None when it names nobody.

    Raises:
        Rejected, PermanentError: it can never be sent as it is.
        Transient, RetryLater: not now.
    """
    with job.step() as connection:
        decided = decide(connection, job, card_id, channel, given, template_id, delivery_id)
    if isinstance(decided, Refused):
        return decided.outcome()
    card, delivery, to = decided
    if delivery.outcome_unknown and _settled(job, card, channel, delivery, to):
        return None
    _wait_for_morning(card, channel, to)
    prepared = _prepared(job, card, channel, delivery, to)
    began = time.monotonic()
    providers = _begin(job, card, channel, delivery, to, prepared)
    _call(job, card, channel, delivery, to, prepared, providers, began)
    return None


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
        _record(job, delivery, "unconfirmed", "settling", card=card if delivery.state == "sending" else None)
        raise RetryLater("settling", after_s=wait_s, detail="the provider did not say whether it took the message")
    failpoint("settling")
    if channel.ask and (found := _ask(card, channel, delivery, to)):
        failpoint("asked")
        _record(job, delivery, "sent", result=found, card=card, settled_by="asked")
        return True
    if delivery.resends:
        _record(job, delivery, "unconfirmed", "held", card=card)
        raise PermanentError("unconfirmed", "sent twice without an answer: look whether it arrived, then decide")
    return False


def _ask(card: Card, channel: Channel, delivery: Delivery, to: str) -> Accepted | None:
    assert channel.ask  # noqa: S101  # the caller has looked
    assert delivery.sending_at  # noqa: S101  # set with the state
    try:
        return channel.ask(card, to, delivery.sending_at)
    except ProviderError as error:
        raise RetryLater("asking", after_s=error.after_s or LIMIT_WAIT_S, detail=error.code) from None


def _wait_for_morning(card: Card, channel: Channel, to: str) -> None:
    until = hours.quiet_until(card.now, channel.quiet(), channel.zones(card, to))
    if until:
        detail = f"quiet hours {channel.quiet()} where the recipient may be, until {until.isoformat()}"
        raise RetryLater("quiet_hours", after_s=(until - card.now).total_seconds(), detail=detail)


def _prepared(job: Job, card: Card, channel: Channel, delivery: Delivery, to: str) -> Prepared:
    try:
        return discreetly(card, channel.prepare, card, delivery, to)
    except ProviderError as error:
        _give_up(job, card, delivery, error, None)
        raise PermanentError(error.error_class.value, f"{error.code}: {error.excerpt}") from None


def _begin(job: Job, card: Card, channel: Channel, delivery: Delivery, to: str, prepared: Prepared) -> list[str]:
    """Commit that an attempt begins, and give whom to try; if the card has changed since it was read, begin anew."""
    with job.step() as connection:
        if read(connection, card.id).fields_that_decide() != card.fields_that_decide():
            raise RetryLater("card_changed", after_s=0)
        providers = breakers.usable(connection, channel.providers())
        if not providers:
            raise RetryLater("breaker_open", after_s=PROBE_WAIT_S, detail="the provider refuses us: see its breaker")
        about = {
            "message_id": channel.message_id(delivery),
            "address_hash": hint(to),
            "locale": prepared.language,
            "template_version": prepared.version,
            "segments": prepared.segments,
        }
        if not deliveries.start(connection, job, delivery, card, **about):
            raise RetryLater("busy", after_s=BUSY_WAIT_S, detail="another job has just begun to send this delivery")
    return providers


def _call(
    job: Job,
    card: Card,
    channel: Channel,
    delivery: Delivery,
    to: str,
    prepared: Prepared,
    providers: list[str],
    began: float,
) -> None:
    """Try one provider after another. Only a refusal leads to the next: what is unknown must not become a duplicate."""
    failpoint("sending")
    settling = began + settings().settle_s / 2  # counts from the first call, the lease from the last refusal
    for provider in providers:
        # Nobody else asks or sends before the lease is over and the outcome settled; half of each is for the answer.
        moment = max(began + settings().lease_s / 2, settling)
        try:
            with last_moment.until(moment), metrics.provider_seconds.labels(channel.name).time():
                accepted = discreetly(card, channel.send, provider, prepared.payload, to, delivery)
        except ProviderError as error:
            failpoint("refused")
            refusal = error
            metrics.attempts.labels(channel.name, error.error_class.value).inc()
            _note(job, channel, delivery, to, provider, error)
            if error.error_class not in (ErrorClass.TRANSIENT, ErrorClass.SENDER):
                break
            began = time.monotonic()
        else:
            failpoint("accepted")
            metrics.attempts.labels(channel.name, "accepted").inc()
            _record(job, delivery, "sent", result=accepted, card=card, provider=provider, channel=channel)
            return
    _refused(job, card, delivery, refusal, provider)


def _note(job: Job, channel: Channel, delivery: Delivery, to: str, provider: str, error: ProviderError) -> None:
    """Renew the job, and learn from a refusal: one of us opens a breaker, one of the recipient may suppress it."""

    def once() -> None:
        with job.step(cancellable=False) as connection:
            if error.error_class is ErrorClass.SENDER:
                breakers.open_(connection, provider, error, channel.providers(), channel.queue)
            else:  # whatever the code, what is wrong with us says nothing about the recipient
                bounces.from_refusal(connection, channel.name, to, error.code, source=provider, delivery_id=delivery.id)

    db.persist(once)


def _refused(job: Job, card: Card, delivery: Delivery, error: ProviderError, provider: str) -> None:
    """Turn what the last provider said into the delivery's state and the job's outcome."""
    reason, said = error.error_class.value, f"{error.code}: {error.excerpt}"
    match error.error_class:
        case ErrorClass.UNKNOWN:
            metrics.unconfirmed.labels(delivery.channel).inc()
            _record(job, delivery, "unconfirmed", "settling", result=error, provider=provider, card=card)
            raise RetryLater("settling", after_s=settings().settle_s, detail=said)
        case ErrorClass.RATE_LIMITED | ErrorClass.SENDER:
            _record(job, delivery, "queued", reason, result=error, provider=provider)
            raise RetryLater(reason, after_s=error.after_s or LIMIT_WAIT_S, detail=said)
        case ErrorClass.TRANSIENT:
            if job.attempt >= TWILIO_TRIES.get(error.code, job.max_attempts):
                _give_up(job, card, delivery, error, provider)
                raise PermanentError("retries_exhausted", said)
            _record(job, delivery, "queued", reason, result=error, provider=provider)
            raise Transient(reason, said, after_s=error.after_s)
        case _:
            _give_up(job, card, delivery, error, provider)
            raise PermanentError(reason, said)


def _give_up(job: Job, card: Card, delivery: Delivery, error: ProviderError, provider: str | None) -> None:
    """Write down that a delivery failed for good, and try the other way."""

    def once() -> None:
        with job.step(cancellable=False) as connection:
            deliveries.end(connection, delivery, "failed", error.error_class.value, result=error, provider=provider)
            fallback.gift_failed(connection, job, card.id, delivery, error.error_class.value)

    db.persist(once)


def _record(
    job: Job,
    delivery: Delivery,
    state: str,
    reason: str | None = None,
    *,
    result: Accepted | ProviderError | None = None,
    card: Card | None = None,
    channel: Channel | None = None,
    provider: str | None = None,
    settled_by: str | None = None,
) -> None:
    """Write an answer down, however long the database is away: what happened outside cannot be taken back."""

    def once() -> None:
        with job.step(cancellable=False) as connection:
            deliveries.end(connection, delivery, state, reason, result=result, provider=provider, settled_by=settled_by)
            if card:
                fact = {"sent": "delivery.sent", "settling": "delivery.unknown", "held": "delivery.held"}
                facts.tell_of(connection, fact[reason or state], card.id, delivery)
            if isinstance(result, Accepted):
                inbox.apply_orphans(connection, delivery.channel, result.provider_id)
            if channel and provider:
                breakers.close(connection, provider, channel.providers(), channel.queue)

    db.persist(once)
