"""One true message per name, for the documents; tests decode every one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from shared.events import EVENTS

VALUES: dict[str, Any] = {
    "gift_card_id": "7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08",
    "method": "email",
    "requested_by": "support-7",
    "reason": "the address had a typing error",
    "recipient_version": 2,
    "delivery_id": "2b0c9a4e-41d1-4d0b-9c2b-6f3f7e0a5c11",
    "kind": "gift",
    "channel": "email",
    "job_id": "0f3d9a56-7a1b-4f1e-8a55-9d7b8f0c1e22",
    "name": "send_gift_card_email",
    "queue": "email-delivery",
    "scope": "all",
    "violations": "1",
    "amount": "25.0000",
    "currency": "EUR",
}
# Beyond what is required, what makes a message worth looking at.
MORE: dict[str, dict[str, Any]] = {
    "deliver_gift_card": {"deliver_local": "2030-12-25T09:00:00", "deliver_tz": "Europe/Berlin"},
    "reschedule_delivery": {"deliver_at": "2030-12-24T18:00:00+01:00"},
    "send_expiry_reminder": {"days_before": 7},
    "job.failed": {"reason": "retries_exhausted"},
    "recipient.suppressed": {"reason": "hard_bounce"},
    "gift_card.code_rotation_needed": {"reason": "recipient_corrected"},
}
OF_A_MESSAGE = {"id": "6f1c2a7e-93b4-4c55-9d1e-0a7b8c9d0e1f", "source": "orders"}
OF_AN_EVENT = {
    "id": "4711",
    "source": "giftcard-jobs",
    "subject": VALUES["gift_card_id"],
    "time": "2030-12-25T08:00:01.250000Z",
    "sequence": "00000000000000004711",
    "subjectsequence": 3,
}


def data(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """Give the required fields of a message or event with values that fit, and some more."""
    needed = {field: VALUES[field] for field, about in model.model_fields.items() if about.is_required()}
    return needed | MORE.get(name, {})


def document(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """Give a CloudEvents document of a message or event."""
    attributes = OF_AN_EVENT if name in EVENTS else OF_A_MESSAGE
    plain = {"specversion": "1.0", "type": name, "datacontenttype": "application/json"}
    return {**plain, **attributes, "data": data(name, model)}
