"""Mail over an open connection beside a new connection per mail: the delivery service's own code both times."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from bench.relay import HOST, Relay, Security
from bench.results import middle, percentile
from services.delivery import email, smtp
from services.delivery.rendering import CardView
from shared.settings import Settings

CARD = CardView(
    gift_card_id=UUID(int=1),
    code="GIFT-7K2M-9QXD-44TN",
    code_last4="44TN",
    balance=Decimal("25.00"),
    currency="EUR",
    expires_on=date(2031, 12, 31),
    recipient_name="Mia",
    sender_name="Leo",
    personal_message="Happy birthday! Buy yourself something nice.",
)
TO = "mia@example.com"
BUDGET = 5


@dataclass(frozen=True)
class Transport:
    """One way to a relay."""

    name: str
    security: Security

    def settings(self, relay: Relay) -> Settings:
        """Give settings that point at a relay."""
        return Settings.model_validate(
            {
                "database_url": "postgresql://unused",
                "rabbitmq_url": "amqp://unused",
                "smtp_host": HOST,
                "smtp_port": relay.port,
                "smtp_security": self.security,
            }
        )


TRANSPORTS = [
    Transport("STARTTLS (the default)", "starttls"),
    Transport("TLS", "tls"),
    Transport("plain", "none"),
]


def run(times: int, runs: int) -> dict[str, object]:
    """Compare mails a second over one open connection with a new connection per mail, for each way to a relay."""
    print(f"{times} mails a run, median of {runs} runs (least to most); budget: reuse at least {BUDGET}x with TLS\n")
    heads = f"{'reuse/new':>18}{'our CPU':>10}   {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}"
    print(f"  {'mails a second:':24}{heads}")
    figures = {transport.name: _compare(transport, times, runs) for transport in TRANSPORTS}
    return {"settings": {"times": times, "runs": runs, "budget": BUDGET}, "transports": figures}


def _compare(transport: Transport, times: int, runs: int) -> dict[str, object]:
    """Measure both ways by turns, so that whatever else the machine does meets both."""
    with Relay(transport.security) as relay, patch.dict(os.environ, SSL_CERT_FILE=str(relay.ca_file)):
        settings = transport.settings(relay)
        letters = [email.letter(email.compose(CARD, "gift_card", TO, uuid4(), settings), TO) for _ in range(times)]
        for hang_up in (True, False):
            _measure(settings, letters[:10], hang_up=hang_up)  # warm-up
        new, reuse = [], []
        for _ in range(runs):
            new.append(_measure(settings, letters, hang_up=True))
            reuse.append(_measure(settings, letters, hang_up=False))
        smtp.close()
    ratios = [b["per_s"] / a["per_s"] for a, b in zip(new, reuse, strict=True)]
    ours = [a["cpu_s"] / b["cpu_s"] for a, b in zip(new, reuse, strict=True)]
    figures = {
        "reuse_over_new": middle(ratios),
        "our_cpu_new_over_reuse": middle(ours),
        "reuse": {name: middle([row[name] for row in reuse]) for name in reuse[0]},
        "new": {name: middle([row[name] for row in new]) for name in new[0]},
    }
    _print(transport.name, figures)
    return figures


def _measure(settings: Settings, letters: list[email.Letter], *, hang_up: bool) -> dict[str, float]:
    """Hand letters over, and say how fast and at what cost; hang up after each, or never."""
    cpu_s, began = time.process_time(), time.perf_counter()
    took = [_hand_over(letter, settings, hang_up) for letter in letters]
    wall_s = time.perf_counter() - began
    return {
        "per_s": len(letters) / wall_s,
        "cpu_s": time.process_time() - cpu_s,
        "p50_ms": 1000 * percentile(took, 0.5),
        "p99_ms": 1000 * percentile(took, 0.99),
        "max_ms": 1000 * max(took),
    }


def _hand_over(letter: email.Letter, settings: Settings, hang_up: bool) -> float:
    began = time.perf_counter()
    email.send(letter, settings)
    if hang_up:
        smtp.close()
    return time.perf_counter() - began


def _print(name: str, figures: dict[str, Any]) -> None:
    ratio, reuse = figures["reuse_over_new"], figures["reuse"]
    spread = f"{ratio['median']:.1f} ({ratio['min']:.1f}-{ratio['max']:.1f})"
    cpu = f"{figures['our_cpu_new_over_reuse']['median']:.1f}"
    late = [f"{reuse[part]['median']:.2f}" for part in ("p50_ms", "p99_ms", "max_ms")]
    print(f"  {name:24}{spread:>18}{cpu:>10}   {late[0]:>8} {late[1]:>8} {late[2]:>8}", flush=True)
