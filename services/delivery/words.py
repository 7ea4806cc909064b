"""The words of each language: TOML files that a translator can edit knowing neither HTML nor Python."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from babel import Locale, UnknownLocaleError
from markupsafe import Markup, escape

from services.delivery.providers import ErrorClass, ProviderError

FOLDER = Path(__file__).parent / "templates"
DEFAULT_LOCALE = "en"
SHARED = "common"  # the words that every message of a language has
PLACEHOLDER = re.compile(r"\{(\w+)\}")
Word = str | Mapping[str, str]


def parse_locale(locale: str) -> Locale:
    """Read a BCP 47 or POSIX locale; anything unknown becomes English."""
    try:
        return Locale.parse(locale.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale.parse(DEFAULT_LOCALE)


def language_of(template_id: str, locale: str) -> str:
    """Give the folder of the best translation: that of the locale, of its language, or English.

    Raises:
        ProviderError: content, when no language has such a template.
    """
    for name in (*_wider(str(parse_locale(locale)).replace("_", "-")), DEFAULT_LOCALE):
        if {f"{template_id}.html", f"{name}/{template_id}.toml"} <= _known():
            return name
    raise ProviderError(ErrorClass.CONTENT, "no_template", "no template has this id: see services/delivery/templates")


def languages() -> list[str]:
    """List the folders of words."""
    return sorted({name.partition("/")[0] for name in _known() if "/" in name})


def template_ids() -> list[str]:
    """List the ids that `language_of` knows."""
    return sorted(name.removesuffix(".txt") for name in _known() if name.endswith(".txt") and "/" not in name)


@cache
def version(template_id: str, language: str) -> str:
    """Name the present state of a template in a language: 12 hex digits over all the files that make it."""
    digest = sha256()
    for name in sources(template_id, language):
        content = (FOLDER / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def sources(template_id: str, language: str) -> list[str]:
    """List the files that make a template in a language, relative to the folder of templates, the strongest last."""
    structure = ["layout.html", f"{template_id}.html", f"{template_id}.txt"]
    words = [f"{name}/{file}.toml" for name in _from_wide(language) for file in (SHARED, template_id)]
    return [name for name in structure + words if name in _known()]


@cache
def words(template_id: str, language: str) -> Mapping[str, Word]:
    """Read the words of a template; a region's files need only those that differ from its language's."""
    read: dict[str, Word] = {}
    for name in sources(template_id, language):
        if name.endswith(".toml"):
            read |= tomllib.loads((FOLDER / name).read_text("utf-8"))
    return read


@dataclass(frozen=True)
class Speaker:
    """Say the words of one template in one language, with the values of one card.

    Parameters:
        values: what may stand in braces in a word; a name that is not here is another word.
        days: chooses among the forms of a word, by the plural rules of the language; None takes the form ``unknown``.
    """

    template_id: str
    language: str
    values: Mapping[str, str]
    days: int | None = None

    def say(self, key: str, **more: str) -> str:
        """Give a word as plain text."""
        values = {**self.values, **more}
        return PLACEHOLDER.sub(lambda found: values[found[1]], self._joined(key, values))

    def html(self, key: str, **more: str) -> Markup:
        """Give a word as HTML, escaped, where no value can turn the direction of the words around it."""
        values = {**self.values, **more}
        word = str(escape(self._joined(key, values)))
        return Markup(PLACEHOLDER.sub(lambda found: f"<bdi>{escape(values[found[1]])}</bdi>", word))  # noqa: S704

    def fact(self, label: str, value: str) -> str:
        """Give a label and its value with the language's own colon."""
        return self.say("fact", label=self.say(label), value=value)

    def _joined(self, key: str, values: Mapping[str, str]) -> str:
        """Put in the words that a word names; values stay in braces, since they may hold braces of their own."""
        word = self._form(key)
        if any(self.values.get(name) == "" for name in PLACEHOLDER.findall(word)):
            word = self._form(f"{key}_unnamed")
        return PLACEHOLDER.sub(lambda found: found[0] if found[1] in values else self._joined(found[1], values), word)

    def _form(self, key: str) -> str:
        word = words(self.template_id, self.language).get(key)
        if isinstance(word, Mapping):
            word = next((word[form] for form in self.forms() if form in word), None)
        if word is None:
            raise ProviderError(
                ErrorClass.CONTENT, "template", f"{self.template_id} in {self.language} has no word {key}: add it"
            )
        return word

    def forms(self) -> Iterator[str]:
        """Name the forms that fit, the best first: the number itself, its plural form, any other."""
        if self.days is None:
            yield "unknown"
        else:
            yield str(self.days)
            yield str(Locale.parse(self.language, sep="-").plural_form(self.days))
        yield "other"


def _wider(name: str) -> Iterator[str]:
    """Give pt-BR, pt."""
    while name:
        yield name
        name = name.rpartition("-")[0]


def _from_wide(name: str) -> list[str]:
    return list(_wider(name))[::-1]


@cache
def _known() -> frozenset[str]:
    return frozenset(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*"))
