"""Why something was done or not, in words: one clause for each reason that a job or a delivery can have."""

from __future__ import annotations

from typing import Any

CLAUSES = {
    # the card
    "redeemed": "the card is redeemed",
    "cancelled": "the card is cancelled",
    "pending": "the card is not active yet",
    "expired": "the card has expired",
    "zero_balance": "there is no money on the card",
    "extended": "the card's last day was changed after this was asked for",
    "not_due": "the card's time has not come",
    "unreached": "the gift reached nobody, so its money is held",
    "card_not_found": "there is no such card",
    "ledger_broken": "the card's balance is not what its ledger ends with",
    # the recipient
    "no_address": "the card has no address for this way",
    "invalid_address": "the card's address cannot be written to as it stands",
    "invalid_number": "the card's number cannot be texted as it stands",
    "recipient_changed": "the card has another recipient by now",
    "suppressed": "the address must not be written to",
    "recipient": "the provider says that nobody is reached there",
    "hard_bounce": "the mailbox does not exist",
    "soft_bounce": "the mailbox took nothing (full, or its server away too long)",
    "country": "numbers of this country get no SMS",
    # what was before
    "already_sent": "it was sent before",
    "already_handed_off": "the gift is on its way to this recipient already",
    "already_reminded": "this reminder was handed off before",
    "gift_not_sent": "the gift itself has not been sent to anybody yet",
    "not_sent_yet": "nothing was sent to the former recipient",
    "superseded": "the recipient was corrected again since",
    "nothing_to_cancel": "nothing was waiting to be sent",
    "nothing_to_move": "no delivery was waiting",
    "nothing_due": "nothing was due",
    "already_run": "it has run for this day",
    "braked": "so much is due that an operator must look first",
    "check_incomplete": "some invariants could not be counted in time",
    # its time
    "too_late": "its time was over before it could be done",
    "deliver_at_past": "its time was over a day past when it was asked for",
    "deliver_at_after_expiry": "the card expires before that time",
    "quiet_hours": "it is night where the recipient may be",
    # providers
    "content": "the provider refuses this very message",
    "failed": "the provider gave it up, and not for the address",
    "bounced": "it came back",
    "transient": "the provider could not take it just then",
    "rate_limited": "the provider asks us to be slower",
    "sender": "the provider refuses us, not the recipient",
    "breaker_open": "the provider refuses us, and is tried again by one probe at a time",
    "recipient_cap": "this number has had its SMS of 24 hours",
    "shop_cap": "the shop has sent its SMS of 24 hours",
    # what nobody knows
    "settling": "the provider did not say whether it took it, which is being waited out",
    "asking": "the provider did not say whether it took it, and cannot be asked just then",
    "unconfirmed": "it was sent twice, and nobody knows whether either arrived: an operator decides",
    "unknown": "the provider did not say whether it took it",
    "held": "its provider never said, and no job asks any more: an operator decides",
    "undelivered": "while nobody knew its outcome, its provider reported that it did not arrive",
    "sent_again": "an operator had it sent again",
    "restored": "a backup was restored, so it may have been sent",
    # jobs
    "busy": "another job was at the same delivery",
    "card_changed": "the card changed meanwhile, so the decision is made anew",
    "retry": "an attempt ended in an error",
    "retried": "an operator had it run again",
    "retries_exhausted": "the last attempt ended in an error, too",
    "stalled": "its worker died or hung",
    "given_back": "its worker was stopped",
    "unknown_message": "nobody knew a message of this name",
    "no_delivery": "it named no delivery",
    # messages
    "undecodable": "its body was no JSON object",
    "too_large": "its body was over 64 KiB",
    "invalid": "a field was missing or wrong",
    "wrong_queue": "it came by another queue",
    "dedupe_key_conflict": "another job has its key",
    "id_conflict": "another job has its id",
}

GIFTS = ("deliver_gift_card", "resend_gift_card", "send_gift_card_email", "send_gift_card_sms")
TO_PEOPLE = (*GIFTS, "send_expiry_reminder")
ENDS = {"failed": "given up", "rejected": "refused", "suppressed": "not sent", "bounced": "did not arrive"}
ENDS |= {"unconfirmed": "nobody knows whether it arrived"}


def clause(reason: str | None, inputs: str | None = None) -> str:
    """Give the clause of a reason, with what its rule looked at; the reason itself where there is no clause."""
    words = CLAUSES.get(reason or "", reason or "")
    return f"{words} ({inputs})" if words and inputs else words or inputs or ""


def of_job(row: dict[str, Any]) -> str:
    """Say of a job's end why it ended so."""
    state, reason, error = row["did"], row["reason"], row["facts"].get("error")
    if state == "cancelled":
        return "somebody cancelled it first"
    if state == "succeeded" or reason is None:
        return ""
    skipped = "not sent" if row["what"] in TO_PEOPLE else "nothing done"
    return f"{ENDS.get(state, skipped)}, since {clause(reason, error)}"


def of_delivery(row: dict[str, Any]) -> str:
    """Say of a delivery's state why it is so."""
    state, reason, facts = row["did"], row["reason"], row["facts"]
    code = " ".join(filter(None, (facts.get("error_class"), facts.get("error_code"))))
    settled = {"callback": "as its provider reported", "asked": "as its provider said when asked"}
    settled |= {"operator": "by an operator's word"}
    known = settled.get(facts.get("settled_by") or "", "")
    if state in ("sent", "delivered"):
        accepted = "the provider accepted it" if state == "sent" else "it arrived"
        return ", ".join(filter(None, (accepted, known)))
    if state == "cancelled":
        return "taken back before it was sent"
    if state == "sending":
        return "an attempt began, and its end is not written down yet"
    return f"{ENDS.get(state, 'not sent')}, since {clause(reason or facts.get('error_class'), code)}"
