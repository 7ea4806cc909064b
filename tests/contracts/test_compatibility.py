"""What breaks others is seen, and what does not is let through."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from shared.contracts.compatibility import breaks
from shared.contracts.schemas import contract

MAIL, SENT = "send_gift_card_email", "delivery.sent"


def fields(agreed: dict[str, Any], kind: str, name: str) -> Any:
    return agreed[kind][name]["schema"]["properties"]


def after(change: str) -> list[str]:
    now = deepcopy(contract())
    mail, sent = fields(now, "messages", MAIL), fields(now, "events", SENT)
    schema, told = now["messages"][MAIL]["schema"], now["events"][SENT]["schema"]
    exec(change, {"now": now, "mail": mail, "sent": sent, "schema": schema, "told": told})  # noqa: S102
    return breaks(contract(), now)


@pytest.mark.parametrize(
    "change",
    [
        "mail['note'] = {'type': 'string'}",
        "sent['note'] = {'type': 'string'}; told['required'].append('note')",
        "schema['required'] = []",
        "mail['template_id'].pop('pattern')",
        "now['messages']['send_postcard'] = now['messages'].get('send_gift_card_sms')",
        "now['messages']['deliver_gift_card']['schema']['properties']['method']['enum'].append('post')",
        "schema['description'] = 'Other words.'",
    ],
)
def test_what_only_adds_is_let_through(change: str) -> None:
    assert after(change) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("now['messages'].pop('send_gift_card_email')", "is gone"),
        ("now['messages']['send_gift_card_email']['queue'] = 'mail'", "moved from email-delivery to mail"),
        ("mail.pop('recipient_email')", "recipient_email: is gone"),
        ("mail['to'] = mail.pop('recipient_email')", "recipient_email: is gone"),
        ("schema['required'].append('template_id')", "template_id: became required"),
        ("mail['note'] = {'type': 'string'}; schema['required'].append('note')", "note: became required"),
        ("mail['gift_card_id']['type'] = 'integer'", "takes no string any more"),
        ("mail['delivery_id']['anyOf'].pop()", "takes no null any more"),
        ("mail['recipient_email']['anyOf'][0]['maxLength'] = 10", "maxLength went down"),
        ("mail['template_id']['pattern'] = '^gift_card$'", "has another pattern"),
        ("now['messages']['deliver_gift_card']['schema']['properties']['method']['enum'].pop()", "takes only"),
        ("sent.pop('channel')", "channel: is gone"),
        ("told['required'].remove('channel')", "channel: may be missing now"),
        ("sent['channel']['enum'].append('post')", "takes only"),
        ("now['events'].pop('delivery.sent')", "is gone"),
        ("now['envelope']['cloudevent']['schema']['properties'].pop('runat')", "runat: is gone"),
        ("now['event_envelope']['event']['schema']['properties'].pop('subjectsequence')", "subjectsequence: is gone"),
    ],
)
def test_what_breaks_senders_or_readers_is_named(change: str, said: str) -> None:
    [problem] = after(change)

    assert said in problem
