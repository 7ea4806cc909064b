"""The text of an SMS: what it says, in which alphabet, for how many segments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.delivery import gsm, sms
from services.delivery.providers import ErrorClass
from services.delivery.rendering import CardView, version
from tests.delivery import samples
from tests.delivery.samples import CODE, refused


def card(**fields: Any) -> CardView:
    return samples.card(**({"currency": "USD", "shop_name": "Marlow"} | fields))


def written(view: CardView) -> str:
    return sms.text(view).body


def test_the_text_names_sender_value_code_date_and_shop_in_one_segment() -> None:
    text = written(card())

    assert text == (
        f"Leo sent you a $25.00 gift card for Marlow. Code: {CODE} Valid until Dec 31, 2026. https://shop.example.com"
    )
    assert gsm.segments(text) == 1


@pytest.mark.parametrize(
    ("locale", "text", "segments"),
    [
        ("de", f"Leo schenkt dir einen Gutschein über 25,00 € für Marlow. Code: {CODE} Gültig bis 31.12.2026.", 1),
        ("es", f"Leo te ha enviado una tarjeta regalo de 25,00 € para Marlow. Canjéala con {CODE} hasta el", 1),
        ("fr", f"Leo vous offre une carte cadeau de 25,00 € pour Marlow. Code : {CODE} Valable jusqu'au 31 déc.", 1),
        ("ja", f"Leo様からMarlowのギフトカード（€25.00）が届きました。コード：{CODE} 有効期限：2026/12/31", 2),
    ],
)
def test_every_language_says_it_in_as_few_segments_as_its_alphabet_allows(
    locale: str, text: str, segments: int
) -> None:
    said = sms.text(card(locale=locale, currency="EUR"))

    assert said.body.startswith(text)
    assert said.segments == gsm.segments(said.body) == segments
    assert gsm.fits(said.body) is (locale != "ja")


def test_the_text_comes_with_what_it_costs_and_which_template_it_was() -> None:
    said = sms.text(card(locale="de-CH"))

    assert (said.segments, said.language, said.version) == (1, "de", version("gift_card", "de"))
    assert CODE not in repr(said)


def test_money_is_written_as_the_reader_does_where_that_costs_nothing() -> None:
    assert "￥2,500" in written(card(locale="ja", currency="JPY", balance=Decimal("2500")))
    assert "₹25.00" in written(card(locale="en-IN", currency="INR", sender_name="美亜"))


@pytest.mark.parametrize(
    ("locale", "currency", "amount"),
    [("de", "EUR", "25,00 €"), ("fr", "EUR", "25,00 €"), ("ar", "EUR", "25.00 €"), ("en-IN", "INR", "INR 25.00"),
     ("ko", "JPY", "JP¥25"), ("he", "ILS", "ILS 25.00"), ("pl", "PLN", "25,00 zl")],
)  # fmt: skip
def test_money_never_forces_the_expensive_alphabet(locale: str, currency: str, amount: str) -> None:
    text = written(card(locale=locale, currency=currency))

    assert amount in text
    assert gsm.fits(text)


@pytest.mark.parametrize("name", ["Łukasz “Lou” Żak", "Zoë – São", "ç", "Mia\u200f", "Mia\u00a0Müller", "Mia 🎁"])
def test_a_name_is_written_in_gsm7_where_that_can_be_read(name: str) -> None:
    text = written(card(sender_name=name))

    assert CODE in text
    assert gsm.fits(text) is not name.endswith("🎁")


def test_a_name_in_another_script_is_kept_and_paid_for() -> None:
    text = written(card(sender_name="美亜"))

    assert text.startswith("美亜 sent you")
    assert gsm.segments(text) == 2


@pytest.mark.parametrize("name", ["win.example.com", "https://evil.example", "a@b.example", "click evil.example now"])
def test_a_name_that_a_phone_would_turn_into_a_link_is_left_out(name: str) -> None:
    text = written(card(sender_name=name))

    assert text.startswith("Your $25.00 gift card for Marlow.")


def test_a_long_name_is_given_up_before_the_code_is() -> None:
    text = written(card(sender_name="美" * 500, shop_name="Marlow " * 12))

    assert CODE in text
    assert gsm.segments(text) <= sms.MOST_SEGMENTS


def test_a_text_that_cannot_be_short_enough_is_a_content_error() -> None:
    error = refused(lambda: sms.text(card(shop_url="https://shop.example.com/" + "x" * 500)))

    assert (error.error_class, error.code) == (ErrorClass.CONTENT, "too_long")


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" * 8, 2),
        ("[]{}~^|\\" * 10, 1),
        ("Ç" * 160, 1),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" * 134, 2),
        ("ç" * 135, 3),
        ("a" * 159 + "’", 3),
        ("🎁" * 35, 1),
        ("🎁" * 36, 2),
        ("🎁" * 67, 3),  # a pair is not split: 33 to a part
        ("", 1),
    ],
)
def test_segments_are_counted_as_they_are_paid(text: str, segments: int) -> None:
    assert gsm.segments(text) == segments


def test_what_looks_alike_is_replaced() -> None:
    assert gsm.normalised("“It’s” – ok…\u00a0\u202f€5\u200e") == '"It\'s" - ok...  €5'
    assert gsm.normalised("e\u0301") == "é"


def test_what_cannot_be_gsm7_anyway_is_left_as_it_was_written() -> None:
    assert gsm.normalised("“美亜”… \u200e（￥25）") == "“美亜”… （￥25）"
