"""The doors of the expiry service: ``dramatiq services.expiry.actors``."""

from services.expiry import cards, reminders
from shared.actor import Outcome, actor
from shared.jobs import Job
from shared.messages import ExpireDueGiftCards, ExpireGiftCard, PlanExpiryReminders, SendExpiryReminder


@actor(ExpireGiftCard, together=cards.expire_together)
def expire_gift_card(message: ExpireGiftCard, job: Job) -> Outcome:
    """Zero one card if it is active and its time has come."""
    return cards.expire(job, message.gift_card_id, message.expiry_version)


@actor(ExpireDueGiftCards)
def expire_due_gift_cards(message: ExpireDueGiftCards, job: Job) -> Outcome:
    """Zero every card whose time has come."""
    return cards.expire_due(job, message.as_of)


@actor(SendExpiryReminder)
def send_expiry_reminder(message: SendExpiryReminder, job: Job) -> Outcome:
    """Hand one reminder over to e-mail."""
    return reminders.remind(job, message)


@actor(PlanExpiryReminders)
def plan_expiry_reminders(message: PlanExpiryReminders, job: Job) -> Outcome:
    """Write down the reminders of the coming day."""
    return reminders.plan(job, message.as_of)
