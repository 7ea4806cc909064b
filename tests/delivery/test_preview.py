"""What `make templates` checks holds for every message, and each check sees what it is there to see."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.delivery.preview import chromium, translations
from services.delivery.preview.checks import CHECKS
from services.delivery.preview.contrast import ratio
from services.delivery.preview.samples import CODE, Message, messages
from services.delivery.words import languages
from tests import packages
from tests.delivery.copies import copied, forget

MESSAGES = {(m.language, m.template_id, m.sample): m for m in messages()}
GIFT = MESSAGES["en", "gift_card", "usual"]
AWKWARD = MESSAGES["fr", "gift_card", "awkward"]
REMINDER = MESSAGES["de", "expiry_reminder", "usual"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with copied(tmp_path) as copy:
        yield copy


def with_mail(message: Message, **parts: Any) -> Message:
    return replace(message, mail=replace(message.mail, **parts))


def in_html(old: str, new: str, message: Message = GIFT) -> Message:
    assert old in message.mail.html
    return with_mail(message, html=message.mail.html.replace(old, new))


# Every message


def test_every_template_is_there_in_five_languages_for_every_kind_of_card() -> None:
    assert languages() == ["de", "en", "es", "fr", "ja"]
    assert len(MESSAGES) == 5 * 3 * 4


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_message_passes(check: Callable[[Message], Iterator[str]]) -> None:
    assert [(m.language, m.name, wrong) for m in MESSAGES.values() for wrong in check(m)] == []


def test_all_languages_say_the_same() -> None:
    assert list(translations.problems()) == []


# Each check


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        ("language", in_html('lang="en"', 'lang="de"')),
        ("language", in_html('dir="ltr"', "")),
        ("alternatives", in_html('alt="QR', 'title="QR')),
        ("contrast", in_html("color: #22262e", "color: #b0b0b0")),
        ("contrast", in_html("#12302d !important", "#e6fffb !important")),  # behind the code, in the dark
        ("contrast", in_html("#0d2422 !important", "#8fd3cb !important")),  # the button, in the dark
        ("contrast", in_html("#123f4a", "#ffffff")),  # one end of the gradient
        ("contrast", in_html("prefers-color-scheme: dark", "prefers-contrast: more")),
        ("code", in_html(f">{CODE}<", "><")),
        ("code", in_html("user-select: all", "user-select: none")),
        ("code", with_mail(GIFT, text="no code")),
        ("code", with_mail(GIFT, subject=CODE)),
        ("code", with_mail(REMINDER, text=CODE)),
        ("code", with_mail(REMINDER, html="<p>7K2M</p>")),
        ("self_contained", in_html("cid:code", "https://shop.example.com/code.png")),
        ("self_contained", in_html("border: 0;", "background: url(https://shop.example.com/x.png);")),
        ("inactive", in_html("<body", "<script>1</script><body")),
        ("inactive", in_html("<h1", "<h1 onclick='x()'")),
        ("inactive", in_html("https://shop.example.com", "javascript:x()")),
        ("strangers", in_html("Buy yourself", "<b>Buy</b> yourself")),
        ("strangers", in_html("&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b>", AWKWARD)),
        ("strangers", in_html("Happy birthday", "https://evil.example Happy birthday")),
        ("strangers", in_html("https://shop.example.com", "https://evil.example")),
        ("strangers", with_mail(GIFT, text="see www.evil.example")),
        ("size", in_html("<h1", "x" * 100_000 + "<h1")),
        ("subject", with_mail(GIFT, subject="x" * 79)),
        ("subject", with_mail(GIFT, subject="")),
        ("filled", with_mail(GIFT, subject="{sender} sent you a gift card")),
        ("filled", with_mail(GIFT, text="Hello ,")),
        ("filled", in_html("Hello <bdi>Mia Carter</bdi>", "Hello None")),
        ("short_message", replace(GIFT, view=replace(GIFT.view, sender_name="美亜"))),
    ],
)
def test_a_check_sees_its_mistake(check: str, broken: Message) -> None:
    assert list(CHECKS[check](broken)) != []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('code_label = "Dein Code"', "", "gift_card.toml: code_label is missing"),
        ('code_label = "Dein Code"', 'kode = "Dein Code"\ncode_label = "Dein Code"', "gift_card.toml: kode is in no"),
        ('{sender} schenkt dir einen Gutschein"', 'Ein Gutschein"', "headline holds no value instead of {sender}"),
    ],
)
def test_a_language_that_says_something_else_is_seen(folder: Path, old: str, new: str, problem: str) -> None:
    words = folder / "de" / "gift_card.toml"
    words.write_text(words.read_text("utf-8").replace(old, new), "utf-8")
    forget()

    found = [wrong for language, wrong in translations.problems() if language == "de"]

    assert any(problem in wrong for wrong in found), found


def test_a_plural_form_that_no_day_count_finds_is_seen(folder: Path) -> None:
    reminder = folder / "ja" / "expiry_reminder.toml"
    reminder.write_text(reminder.read_text("utf-8").replace("other =", "few ="), "utf-8")
    forget()

    assert ("ja", "expiry_reminder: when has no form for 2") in list(translations.problems())


def test_a_missing_file_is_seen(folder: Path) -> None:
    (folder / "fr" / "gift_undeliverable.toml").unlink()
    forget()

    assert any(language == "fr" and "is missing" in wrong for language, wrong in translations.problems())


@pytest.mark.parametrize(
    ("one", "other", "contrast"), [("#000000", "#ffffff", 21), ("#767676", "#ffffff", 4.54), ("#fff", "#ffffff", 1)]
)
def test_contrast_is_that_of_wcag(one: str, other: str, contrast: float) -> None:
    assert ratio(one.replace("#fff", "#ffffff")[:7], other) == pytest.approx(contrast, abs=0.01)


# The command


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the command, as on a machine without Chromium whose user cannot install it, for one language."""
    command = pytest.importorskip("services.delivery.preview.__main__", exc_type=ImportError)
    monkeypatch.setattr(command, "FOLDER", tmp_path / "out")
    monkeypatch.setattr(command, "FOR_CONSOLE", tmp_path / "shown")
    monkeypatch.setattr(command, "messages", lambda: [m for m in MESSAGES.values() if m.language == "ja"])
    monkeypatch.setattr(chromium, "program", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return command


def test_without_chromium_there_are_pages_texts_and_a_line_that_says_why(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = command.main()

    assert status == 0
    assert "apt-get install chromium" in capsys.readouterr().out
    assert (tmp_path / "out" / "ja" / "gift_card.html").read_text("utf-8").count("data:image/png;base64,") == 1
    assert "2 segments" in (tmp_path / "out" / "ja" / "gift_card.txt").read_text("utf-8")
    sheet = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert 'href="ja/gift_undeliverable.rtl.html"' in sheet
    assert ".png" not in sheet
    assert len(list((tmp_path / "shown" / "ja").iterdir())) == 6  # the usual sample alone, as text and HTML


def test_a_failed_check_is_named_and_ends_with_status_1(
    command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "messages", lambda: [with_mail(GIFT, subject="x" * 79)])

    status = command.main()

    assert status == 1
    assert "subject en/gift_card: the subject has 79 characters" in capsys.readouterr().out
    assert not (tmp_path / "shown").exists()


def test_a_picture_is_of_the_whole_page_and_tells_when_it_is_too_wide(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<meta name="viewport" content="width=device-width"><div style="width: 500px; height: 2000px">')
    light, dark, phone = chromium.LOOKS
    program = packages.need(chromium.program, "chromium")

    with chromium.opened(program) as browser:
        (picture, fits), (_, overflows) = browser.picture(page, light), browser.picture(page, phone)

    assert struct.unpack(">II", picture[16:24])[0] == fits == light.width
    assert struct.unpack(">II", picture[16:24])[1] > 2000
    assert overflows > phone.width
    assert dark.scheme == "dark"
