"""The delivery service as it must not be: what nobody knows is tried again like any failure. For one test only."""

from __future__ import annotations

from services.delivery.actors import send_gift_card_email, send_gift_card_sms
from services.delivery.deliveries import Delivery

__all__ = ["send_gift_card_email", "send_gift_card_sms"]

Delivery.outcome_unknown = property(lambda _: False)  # type: ignore[method-assign,assignment]  # that is the switch
