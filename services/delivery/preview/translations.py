"""Whether all languages say the same: the same files, the same words, the same values in them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from services.delivery import words
from services.delivery.words import DEFAULT_LOCALE, PLACEHOLDER, Speaker, Word, languages, template_ids

DAYS = (None, *range(400))


def problems() -> Iterator[tuple[str, str]]:
    """Give each language that differs from English, with what differs."""
    for language in languages():
        yield from ((language, problem) for problem in (*_differences(language), *_missing_forms(language)))


def _differences(language: str) -> Iterator[str]:
    own, model = (_values(name) for name in (language, DEFAULT_LOCALE))
    for word in sorted(own.keys() | model.keys()):
        if word not in model:
            yield f"{word} is in no English file"
        elif word not in own and "-" not in language:  # a region says only what it says differently
            yield f"{word} is missing"
        elif word in own and own[word] != model[word]:
            yield f"{word} holds {_braces(own[word])} instead of {_braces(model[word])}"


def _values(language: str) -> dict[str, set[str]]:
    """Give the placeholders of each word. {days} may be left out of any form, as in "tomorrow"."""
    return {
        f"{path.name}: {key}": {name for text in _texts(word) for name in PLACEHOLDER.findall(text)} - {"days"}
        for path in sorted((words.FOLDER / language).glob("*.toml"))
        for key, word in tomllib.loads(path.read_text("utf-8")).items()
    }


def _missing_forms(language: str) -> Iterator[str]:
    for template_id in template_ids():
        for key, word in words.words(template_id, language).items():
            missing = [] if isinstance(word, str) else [n for n in DAYS if not word.keys() & _forms(language, n)]
            yield from (f"{template_id}: {key} has no form for {days}" for days in missing[:1])


def _forms(language: str, days: int | None) -> set[str]:
    return set(Speaker("", language, {}, days).forms())


def _texts(word: Word) -> list[str]:
    return [word] if isinstance(word, str) else list(word.values())


def _braces(names: set[str]) -> str:
    return " ".join(sorted(f"{{{name}}}" for name in names)) or "no value"
