"""The templates: safe against strangers' words, whole in themselves, readable for everybody."""

from __future__ import annotations

import re

import pytest

from services.delivery.rendering import render
from tests.delivery.samples import Page, card

TEMPLATES = ["gift_card", "expiry_reminder", "gift_undeliverable"]

# Strangers' words


@pytest.mark.parametrize(
    "words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ code }}{% raw %}", "{code}{x}", "&lt;"]
)
def test_words_of_strangers_are_text_and_nothing_else(words: str) -> None:
    page = Page(render("gift_card", card(personal_message=words, sender_name=words, recipient_name=words)).html)

    assert not page.all("script")
    assert len(page.all("img")) == 1
    assert page.text.count(words) >= 3


@pytest.mark.parametrize(
    "words", ["see https://evil.example/x", "see evil.example", "www.evil.example", "write a@evil.example"]
)
def test_nothing_in_a_strangers_words_becomes_a_link(words: str) -> None:
    mail = render("gift_card", card(personal_message=words, sender_name=words))

    assert {link["href"] for link in Page(mail.html).all("a")} == {"https://shop.example.com"}
    for part in (mail.subject, mail.text, mail.html):
        assert not re.search(r"evil\.example|://evil|a@evil", part)
        assert "evil" in part


def test_a_personal_message_keeps_its_lines_and_ends_after_500_characters() -> None:
    mail = render("gift_card", card(personal_message="first\r\nsecond " + "x" * 600))

    assert "> first\n> second xxx" in mail.text
    assert mail.text.count("x") == 500 - len("first\nsecond ") - 1 + mail.text.count("example")
    assert "…" in mail.text


def test_direction_overrides_and_control_characters_are_taken_out() -> None:
    mail = render("gift_card", card(sender_name="Leo\u202egnp.exe\x07", personal_message="a\x00b\u2066c"))

    assert not set(mail.subject + mail.text + mail.html) & set("\u202e\x07\x00\u2066")


# The form of the HTML


@pytest.mark.parametrize("template_id", TEMPLATES)
def test_the_html_needs_nothing_from_elsewhere_and_fits_phones_and_dark_mode(template_id: str) -> None:
    html = render(template_id, card()).html

    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media (max-width: 480px)" in html
    assert 'name="viewport"' in html
    assert 'class="hero" style="' in html  # inlined, for mail programs that drop the style element
    assert all((image["src"] or "").startswith("cid:") for image in Page(html).all("img"))
    assert not Page(html).all("link") + Page(html).all("script")
    assert "url(" not in html
