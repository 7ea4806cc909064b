"""What a person reads: language, money, dates, and what strangers' words cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.delivery import rendering
from services.delivery.providers import ErrorClass, ProviderError
from services.delivery.rendering import FOLDER, CardView, language_of, render
from tests.delivery import samples
from tests.delivery.samples import CODE, Page

TEMPLATES = ["gift_card", "expiry_reminder"]


def card(**fields: Any) -> CardView:
    return samples.card(**({"balance": Decimal("1250.50"), "currency": "USD", "days_left": 7} | fields))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a copy of the templates to add to, with fresh caches before and after."""
    caches = (rendering._known, rendering._environment, rendering._template)
    for path in FOLDER.rglob("*.*"):
        copy = tmp_path / path.relative_to(FOLDER)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(rendering, "FOLDER", tmp_path)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def add_language(folder: Path, name: str, greeting: str) -> None:
    (folder / name).mkdir()
    for kind in ("subject.txt", "txt", "html"):
        (folder / name / f"gift_card.{kind}").write_text(greeting)


# What it says


def test_a_gift_states_giver_value_code_and_last_day_in_every_part() -> None:
    mail = render("gift_card", card())

    assert mail.subject == "Leo sent you a $1,250.50 gift card"
    for part in (mail.text, Page(mail.html).text):
        for fact in ("Mia", "Leo", "$1,250.50", CODE, "December 31, 2026"):
            assert fact in part


def test_the_code_is_text_that_can_be_selected_and_a_qr_code_with_words_for_it() -> None:
    mail = render("gift_card", card(), qr_cid="x@example.com")

    [image] = Page(mail.html).all("img")
    assert image["src"] == "cid:x@example.com"
    assert "QR code" in (image["alt"] or "")
    assert (mail.qr_png or b"").startswith(b"\x89PNG")


def test_a_reminder_states_balance_days_and_date_but_only_the_end_of_the_code() -> None:
    mail = render("expiry_reminder", card())

    assert mail.subject == "Your gift card with $1,250.50 expires in 7 days"
    assert mail.qr_png is None
    for part in (mail.text, Page(mail.html).text):
        for fact in ("in 7 days", "$1,250.50", "December 31, 2026", "44TN"):
            assert fact in part
    assert CODE not in mail.text + mail.html


@pytest.mark.parametrize(
    ("days", "words"), [(0, "today"), (1, "tomorrow"), (2, "in 2 days"), (30, "in 30 days"), (None, "soon")]
)
def test_a_reminder_says_the_real_days_left(days: int | None, words: str) -> None:
    assert render("expiry_reminder", card(days_left=days)).subject.endswith(f"expires {words}")


@pytest.mark.parametrize("missing", ["recipient_name", "sender_name", "personal_message"])
@pytest.mark.parametrize("template_id", TEMPLATES)
def test_a_name_or_message_that_is_not_there_leaves_no_gap(template_id: str, missing: str) -> None:
    mail = render(template_id, card(**{missing: None}))

    for part in (mail.subject, mail.text, Page(mail.html).text):
        assert "None" not in part
        assert " ," not in part


def test_a_gift_without_a_code_is_a_content_error_and_a_reminder_without_one_is_none() -> None:
    with pytest.raises(ProviderError) as raised:
        render("gift_card", card(code=None))

    assert (raised.value.error_class, raised.value.code) == (ErrorClass.CONTENT, "no_code")
    assert render("expiry_reminder", card(code=None)).text


def test_the_view_shows_nothing_private_in_its_repr() -> None:
    shown = repr(card(personal_message="my secret", unsubscribe_url="https://shop.example.com/u/1"))

    assert not any(word in shown for word in (CODE, "44TN", "Mia", "Leo", "my secret", "/u/1"))


# Language, money, dates


@pytest.mark.parametrize(
    ("locale", "amount", "day"),
    [
        ("en", "$1,250.50", "December 31, 2026"),
        ("en-GB", "US$1,250.50", "31 December 2026"),
        ("de", "1.250,50\u00a0$", "31. Dezember 2026"),
        ("pt-BR", "US$\u00a01.250,50", "31 de dezembro de 2026"),
        ("pt_BR", "US$\u00a01.250,50", "31 de dezembro de 2026"),
        ("ja", "$1,250.50", "2026年12月31日"),
        ("xx-YY", "$1,250.50", "December 31, 2026"),
        ("", "$1,250.50", "December 31, 2026"),
        ("../../etc", "$1,250.50", "December 31, 2026"),
    ],
)
def test_money_and_dates_are_written_as_in_the_cards_locale(locale: str, amount: str, day: str) -> None:
    text = render("gift_card", card(locale=locale)).text

    assert amount in text
    assert day in text


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "¥1,250"), ("KWD", "KWD1,250.500"), ("EUR", "€1,250.50")])
def test_money_has_the_decimals_of_its_currency(currency: str, amount: str) -> None:
    balance = Decimal("1250") if currency == "JPY" else Decimal("1250.5")

    text = render("gift_card", card(currency=currency, balance=balance)).text

    assert amount in text.replace("\u00a0", "")


def test_a_language_is_added_by_adding_files_and_found_from_the_region_down(folder: Path) -> None:
    add_language(folder, "pt", "Olá")

    assert render("gift_card", card(locale="pt-BR")).subject == "Olá"
    assert language_of("gift_card", "pt-BR") == "pt"
    assert language_of("expiry_reminder", "pt-BR") == "en"
    add_language(folder, "pt-BR", "Oi")
    rendering._known.cache_clear()
    assert render("gift_card", card(locale="pt-BR")).subject == "Oi"
    assert render("gift_card", card(locale="pt-PT")).subject == "Olá"


def test_the_html_names_its_language_and_direction(folder: Path) -> None:
    add_language(folder, "he", '{% extends "layout.html" %}')

    assert Page(render("gift_card", card(locale="de")).html).all("html") == [{"lang": "en", "dir": "ltr"}]
    assert Page(render("gift_card", card(locale="he")).html).all("html") == [{"lang": "he", "dir": "rtl"}]


@pytest.mark.parametrize("template_id", ["nothing", "../layout", "gift_card.sms", ""])
def test_an_unknown_template_is_a_content_error(template_id: str) -> None:
    with pytest.raises(ProviderError) as raised:
        render(template_id, card())

    assert (raised.value.error_class, raised.value.code) == (ErrorClass.CONTENT, "no_template")


def test_a_template_that_names_what_is_not_there_is_a_content_error(folder: Path) -> None:
    (folder / "en" / "gift_card.txt").write_text("{{ nothing_of_this_name }}")

    with pytest.raises(ProviderError, match="nothing_of_this_name"):
        render("gift_card", card())


def test_a_template_cannot_reach_out_of_its_sandbox(folder: Path) -> None:
    (folder / "en" / "gift_card.txt").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")

    with pytest.raises(ProviderError, match="unsafe"):
        render("gift_card", card())
