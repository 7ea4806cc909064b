"""How a stand-in misbehaves: rules that a test or a demo sets, matched request by request."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any, Literal, get_args

Channel = Literal["email", "sms"]
Phase = Literal["connect", "mail", "rcpt", "data", "dot", "send"]
Deed = Literal["refuse", "cut", "hang", "lie"]


@dataclass
class Behaviour:
    """Say how requests that match are answered.

    Parameters:
        do: refuse with the code and text; cut the connection without an answer; hang without one; lie: say yes and
            keep nothing.
        phase: of SMTP: connect (the greeting), mail, rcpt, data (the command) or dot (after the final dot). An SMS has
            "send" only.
        accept: keep the message first. With cut this is a swallowed answer. Only at dot and send.
        code, text: the SMTP reply or Twilio's error code and message.
        status: the HTTP status of a refused SMS.
        retry_after_s: sent as Retry-After with a refused SMS.
        to: this recipient only; None: whoever it is. Not known yet at connect and mail.
        times: how often; None: for ever.
        every: only each n-th request that matches, from the n-th on.
    """

    channel: Channel
    do: Deed
    phase: Phase = "send"
    accept: bool = False
    code: int = 0
    text: str = ""
    status: int = 400
    retry_after_s: int | None = None
    to: str | None = None
    times: int | None = 1
    every: int = 1
    matched: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.phase == "send" and self.channel == "email":
            self.phase = "dot"
        if self.channel not in get_args(Channel) or self.do not in get_args(Deed) or self.phase not in get_args(Phase):
            raise ValueError(
                f"no such behaviour: {self.channel} {self.do} {self.phase}; see tests/outside/behaviour.py"
            )
        if self.accept and self.phase not in ("dot", "send"):
            raise ValueError(f"nothing can be accepted at {self.phase}: use dot")
        if self.channel == "sms" and self.phase != "send":
            raise ValueError("an SMS has no phases: leave phase away")

    def claims(self, channel: Channel, phase: Phase, to: str | None) -> bool:
        """Count a request that fits, and tell whether it is one of those to misbehave at."""
        if (channel, phase) != (self.channel, self.phase) or self.to not in (None, to) or self.times == 0:
            return False
        self.matched += 1
        if self.matched % self.every:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Behaviours:
    """Hold the rules; the oldest that matches wins."""

    def __init__(self) -> None:
        self._rules: list[Behaviour] = []
        self._lock = Lock()

    def add(self, rule: Behaviour) -> None:
        """Put a rule behind those that are there."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Behave well again."""
        with self._lock:
            self._rules.clear()

    def pick(self, channel: Channel, phase: Phase, to: str | None = None) -> Behaviour | None:
        """Give the rule for this request, used up by one; None: behave well."""
        with self._lock:
            return next((rule for rule in self._rules if rule.claims(channel, phase, to)), None)

    def as_json(self) -> list[dict[str, Any]]:
        """Give the rules as they can be posted again, with what is left of them."""
        with self._lock:
            return [asdict(rule) for rule in self._rules]
