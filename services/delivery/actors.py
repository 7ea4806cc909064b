"""The doors of the delivery service: ``dramatiq services.delivery.actors``."""

from dramatiq import Middleware

from services.delivery import channels, commands, handoff, sending, sms, smtp
from shared.actor import Outcome, actor
from shared.broker import get_broker
from shared.jobs import Job
from shared.messages import (
    CancelDelivery,
    CorrectRecipient,
    DeliverGiftCard,
    RescheduleDelivery,
    ResendGiftCard,
    SendGiftCardEmail,
    SendGiftCardSms,
)


class HangUp(Middleware):
    """Close a worker thread's connections to the providers when it ends."""

    def before_worker_thread_shutdown(self, *_: object) -> None:
        """Say goodbye to the relay and to Twilio."""
        smtp.close()
        sms.close()


get_broker().add_middleware(HangUp())


@actor(DeliverGiftCard, admit=handoff.admit)
def deliver_gift_card(message: DeliverGiftCard, job: Job) -> Outcome:
    """Hand a card over to e-mail, SMS or both."""
    return handoff.hand_off(message, job)


@actor(SendGiftCardEmail)
def send_gift_card_email(message: SendGiftCardEmail, job: Job) -> Outcome:
    """E-mail a card to its recipient."""
    return sending.deliver(
        job,
        message.gift_card_id,
        channels.EMAIL,
        given=message.recipient_email,
        template_id=message.template_id,
        delivery_id=message.delivery_id,
    )


@actor(SendGiftCardSms)
def send_gift_card_sms(message: SendGiftCardSms, job: Job) -> Outcome:
    """Text a card to its recipient."""
    return sending.deliver(
        job,
        message.gift_card_id,
        channels.SMS,
        given=message.recipient_phone,
        template_id="gift_card",
        delivery_id=message.delivery_id,
    )


@actor(ResendGiftCard)
def resend_gift_card(message: ResendGiftCard, job: Job) -> Outcome:
    """Send a gift once more."""
    return commands.resend(message, job)


@actor(CancelDelivery)
def cancel_delivery(message: CancelDelivery, job: Job) -> Outcome:
    """Take back what has not been sent."""
    return commands.cancel(message, job)


@actor(RescheduleDelivery)
def reschedule_delivery(message: RescheduleDelivery, job: Job) -> Outcome:
    """Move what has not begun."""
    return commands.reschedule(message, job)


@actor(CorrectRecipient)
def correct_recipient(message: CorrectRecipient, job: Job) -> Outcome:
    """Follow a corrected recipient."""
    return commands.correct(message, job)
