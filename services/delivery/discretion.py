"""Keep what a card says about people out of what a provider says about it: relays repeat names, filters even words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from services.delivery.providers import Accepted, ProviderError
from shared.cards import Card

P = ParamSpec("P")
T = TypeVar("T")

SHORTEST_OF_A_MESSAGE = 4  # letters; what is shorter is in every sentence


def discreetly(card: Card, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Compose or send a message about a card, and take the card's own words out of what comes back.

    Raises:
        ProviderError: as ``call`` does, without these words.
    """
    try:
        result = call(*args, **kwargs)
    except ProviderError as error:
        excerpt = without_words_of(card, error.excerpt)
        raise ProviderError(error.error_class, error.code, excerpt, error.after_s) from None
    if isinstance(result, Accepted):
        return replace(result, detail=without_words_of(card, result.detail))
    return result


def without_words_of(card: Card, text: str) -> str:
    """Put … for every word of a text that is in the card's names, or is a longer one of its personal message."""
    names = _words(f"{card.recipient_name or ''} {card.sender_name or ''}")
    message = {word for word in _words(card.personal_message or "") if len(word) >= SHORTEST_OF_A_MESSAGE}
    return re.sub(r"\w+", lambda found: "…" if found.group().casefold() in names | message else found.group(), text)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
