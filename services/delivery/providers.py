"""What a provider can answer, in the words that e-mail and SMS share, and the tables that sort its codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """Say what an error calls for."""

    TRANSIENT = "transient"  # try again
    RATE_LIMITED = "rate_limited"  # try again when they say so; no attempt is burnt
    RECIPIENT = "recipient"  # never again to this address; another channel may do
    CONTENT = "content"  # never again as it is; the template or the request needs a fix
    SENDER = "sender"  # nobody gets anything: credentials, registration, policy
    UNKNOWN = "unknown"  # it may have been accepted: ask before any resend


@dataclass(frozen=True)
class Accepted:
    """Say that the provider took the message over, and nothing more.

    Parameters:
        provider_id: the provider's own name for the message; None when its answer has none.
        detail: the provider's answer, short and redacted.
    """

    provider_id: str | None
    detail: str


class ProviderError(Exception):
    """Say that a message was not accepted, or that nobody knows.

    Parameters:
        code: the provider's, as in "550 5.1.1" or "21211", or a word of ours such as "timeout".
        excerpt: what the provider said; addresses, numbers and whatever may be a card's code are taken out.
        after_s: wait this many seconds; None: whatever the job's backoff says.
    """

    def __init__(self, error_class: ErrorClass, code: str, excerpt: str, after_s: float | None = None) -> None:
        self.error_class = error_class
        self.code = code
        self.excerpt = redact(excerpt)
        self.after_s = after_s
        super().__init__(f"{error_class} {code}: {self.excerpt}")


_STATUS = re.compile(r"#?[245]\.\d{1,3}\.\d{1,3}\W?")
# An address, a word with a digit, a word in capitals that is long or has hyphens: a card's code may look like any.
_PRIVATE = re.compile(r"@|\d|^\W*(?:[A-Z]{10,}|[A-Z]{3,}(?:-[A-Z]{3,})+)\W*$")


def redact(text: str, *, limit: int = 160) -> str:
    """Take out of a provider's words what could be private, and shorten them to ``limit`` characters.

    Only status codes keep their digits: enhanced ones such as 5.1.1, and a reply code at the very beginning.
    """
    words = text.split()
    hidden = [_hidden(word, first=n == 0) for n, word in enumerate(words)]
    kept = [
        "…" if hide else word
        for n, (word, hide) in enumerate(zip(words, hidden, strict=True))
        if not (hide and n and hidden[n - 1])
    ]
    plain = " ".join(kept)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _hidden(word: str, *, first: bool) -> bool:
    is_status = _STATUS.fullmatch(word) or (first and re.fullmatch(r"[245]\d\d\W?", word))
    return not is_status and _PRIVATE.search(word) is not None


T, R, C, S, U, L = (
    ErrorClass.TRANSIENT,
    ErrorClass.RECIPIENT,
    ErrorClass.CONTENT,
    ErrorClass.SENDER,
    ErrorClass.UNKNOWN,
    ErrorClass.RATE_LIMITED,
)

# RFC 3463 and the IANA registry of enhanced status codes: a whole code, else its first two parts. Only 5.x.x is looked
# up, as any 4.x.x is transient.
SMTP_ENHANCED: Mapping[str, ErrorClass] = {
    "5.1": R, "5.1.0": R, "5.1.1": R, "5.1.2": R, "5.1.3": R, "5.1.6": R, "5.1.10": R,
    "5.1.7": S, "5.1.8": S,
    "5.2": R, "5.2.1": R, "5.2.2": T, "5.2.3": C,
    "5.3.2": T, "5.3.3": C, "5.3.4": C,
    "5.4": T, "5.4.1": R, "5.4.4": R, "5.4.6": R,
    "5.5": C,
    "5.6": C, "5.6.7": C,
    "5.7": S, "5.7.1": S, "5.7.8": S, "5.7.25": S, "5.7.26": S,
}  # fmt: skip
SMTP_REPLY: Mapping[int, ErrorClass] = {
    421: T, 450: T, 451: T, 452: T, 454: T, 455: T,
    500: C, 501: C, 502: C, 503: C, 504: C, 555: C,
    530: S, 534: S, 535: S, 538: S,
    550: R, 551: R, 552: T, 553: R, 554: C, 556: R,
}  # fmt: skip
GREYLISTING_S = 300.0
_GREYLISTING = {"450", "450 4.2.0", "450 4.7.1", "451 4.7.1"}


def classify_smtp(code: int, enhanced: str | None = None, *, before_rcpt: bool = False) -> ErrorClass:
    """Sort a reply of 400 and above.

    Parameters:
        enhanced: such as "5.1.1"; None when the server gives none.
        before_rcpt: no recipient was named yet: then it cannot be the recipient's fault.
    """
    if 400 <= code < 500 or (enhanced or "").startswith("4."):
        return T
    if code // 100 != 5:
        return T if code < 0 else C
    subject = (enhanced or "").rpartition(".")[0]
    found = SMTP_ENHANCED.get(enhanced or "") or SMTP_ENHANCED.get(subject) or SMTP_REPLY.get(code, C)
    return S if before_rcpt and (found is R or (code == 554 and not enhanced)) else found


def smtp_wait_s(code: str) -> float | None:
    """Give the seconds to wait after a reply such as "450 4.2.0": greylisting asks for five minutes."""
    return GREYLISTING_S if code in _GREYLISTING else None


# https://www.twilio.com/docs/api/errors
TWILIO: Mapping[int, ErrorClass] = {
    **dict.fromkeys((21211, 21401, 21610, 21612, 21614, 30004, 30005, 30006), R),
    **dict.fromkeys((20503, 21611, 30001, 30003, 30008, 30017, 30022, 30020, 30021, 30500, 21730, 14107, 30036), T),
    **dict.fromkeys((20429, 30023, 30027, 30610, 30047), L),
    **dict.fromkeys((21602, 21604, 21617, 21618, 30007, 30019), C),
    **dict.fromkeys((20003, 20005, 10001, 30002, 20404, 21212, 21603, 21606, 21607, 21608, 21408), S),
    **dict.fromkeys((21701, 21703, 21704, 21705, 30010, 30018, 30024, 30032, 30033, 30034, 30035), S),
    **dict.fromkeys((20500, 30410), U),
}
# Of those that pass, some pass seldom: so many tries, then the other channel.
TWILIO_TRIES: Mapping[str, int] = {"30003": 3, "30008": 2}
TWILIO_WAIT_S: Mapping[int, float] = {
    20429: 30.0,  # when it comes without Retry-After
    **dict.fromkeys((30023, 30027, 30610, 30047), 3600.0),  # daily caps and quiet hours: ask again every hour
}


def classify_twilio(code: int | None, status: int) -> ErrorClass:
    """Sort an answer of Twilio to a message create. A code of the table decides; else the HTTP status does."""
    if code is not None and code in TWILIO:
        return TWILIO[code]
    if status >= 500 or status == 408:
        return U
    if status == 429:
        return L
    return S if status in (401, 403, 404) else C
