"""Twilio: status callbacks of our SMS, and what people text back.

Sources: Twilio's pages "Outbound Message Status in Status Callbacks", "Messaging webhooks", "Webhooks security" and
"Advanced Opt-Out". Twilio itself answers STOP, START and HELP, so nothing is said back here.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import parse_qsl

from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from services.delivery import links
from services.delivery.reports.incoming import Incoming, Malformed, Refused, secret
from services.delivery.reports.report import Kind, Report, address, word

PROVIDER = "twilio"
STATUSES = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), Kind.ACCEPTED),
    **dict.fromkeys(("delivered", "read"), Kind.DELIVERED),
    **dict.fromkeys(("undelivered", "failed", "canceled"), Kind.FAILED),
}
# Twilio's default keywords, and the same words of the languages we write in, which Twilio lets through as any text.
WORDS = {
    **dict.fromkeys(("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout", "revoke"), Kind.STOP),
    **dict.fromkeys(("stopp", "abmelden", "arret", "baja", "parar", "cancelar", "停止", "配信停止"), Kind.STOP),
    **dict.fromkeys(("start", "yes", "unstop"), Kind.START),
    **dict.fromkeys(("help", "info"), Kind.HELP),
}


def status(request: Incoming) -> list[Report]:
    """Read what became of one SMS.

    Raises:
        Refused: the path's token is not ours, or the signature is not Twilio's.
        Malformed: it names no message.
    """
    delivery_id = request.parameters["delivery_id"]
    if not links.is_status_token(delivery_id, request.parameters["token"], request.settings):
        raise Refused("bad_token")
    form = _form(request)
    sid, said = word(form.get("MessageSid")), word(form.get("MessageStatus"))
    if not (sid and said):
        raise Malformed("MessageSid and MessageStatus are missing")
    return [
        Report(
            provider=PROVIDER,
            event_id=f"{sid}:{said}",
            kind=STATUSES.get(said.lower(), Kind.NOTHING),
            delivery_id=delivery_id,
            provider_id=sid,
            address=address("sms", form.get("To")),
            code=word(form.get("ErrorCode")),
            facts={"status": said},
        )
    ]


def inbound(request: Incoming) -> list[Report]:
    """Read what somebody texted to us: STOP, START, HELP; the words of any other text are not kept.

    Raises:
        Refused: the signature is not Twilio's.
        Malformed: it names no message.
    """
    form = _form(request)
    sid, sender = word(form.get("MessageSid")), address("sms", form.get("From"))
    if not (sid and sender):
        raise Malformed("MessageSid and From are missing")
    ours = filter(None, (word(form.get("To")), word(form.get("MessagingServiceSid"))))
    return [
        Report(
            provider=PROVIDER,
            event_id=f"{sid}:inbound",
            kind=_wish(form),
            address=sender,
            scopes=tuple(f"from:{sender}" for sender in ours),
            facts={"opt_out_type": bool(form.get("OptOutType"))},
        )
    ]


def _wish(form: dict[str, str]) -> Kind:
    said = form.get("OptOutType") or form.get("Body", "")
    bare = unicodedata.normalize("NFKD", said).casefold()
    bare = "".join(c for c in bare if not unicodedata.combining(c)).strip(" \t\r\n.!\"'")
    return WORDS.get(unicodedata.normalize("NFC", bare), Kind.NOTHING)


def _form(request: Incoming) -> dict[str, str]:
    token = secret(request.settings.twilio_auth_token)
    form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    signature = request.headers.get("X-Twilio-Signature", "")
    if not RequestValidator(token).validate(request.public_url(), form, signature):
        raise Refused("bad_signature")
    return form
