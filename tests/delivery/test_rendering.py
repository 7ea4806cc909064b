"""What a person reads: language, money, dates, and what strangers' words cannot do."""

from __future__ import annotations

import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import segno

from services.delivery import qr
from services.delivery.plain import first_name
from services.delivery.providers import ErrorClass, ProviderError
from services.delivery.rendering import REASONS, CardView, language_of, render, version
from tests.delivery import samples
from tests.delivery.copies import copied, forget
from tests.delivery.samples import CODE, Page

TEMPLATES = ["gift_card", "expiry_reminder", "gift_undeliverable"]
LANGUAGES = ["en", "de", "es", "fr", "ja"]


def card(**fields: Any) -> CardView:
    return samples.card(**({"balance": Decimal("1250.50"), "currency": "USD", "days_left": 7} | fields))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with copied(tmp_path) as copy:
        yield copy


def add_language(folder: Path, name: str, subject: str) -> None:
    """Add a language that has the gift card alone."""
    (folder / name).mkdir()
    shutil.copy(folder / "en" / "common.toml", folder / name)
    english = (folder / "en" / "gift_card.toml").read_text().replace("{sender} sent you a {amount} gift card", subject)
    (folder / name / "gift_card.toml").write_text(english)
    forget()


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


@pytest.mark.parametrize("code", [CODE, "A", "0" * 16, "gift/" + "x" * 60])
def test_the_picture_is_the_qr_code_of_the_code_dot_for_dot(code: str) -> None:
    modules = segno.make(code, error="m", micro=False, mask=qr.MASK).matrix

    width, pixels = lines_of(qr.png(code))

    edge = qr.QUIET * qr.SCALE
    dots = [line[edge + qr.SCALE // 2 : width - edge : qr.SCALE] for line in pixels[edge : width - edge : qr.SCALE]]
    assert dots == ["".join("01"[not module] for module in row) for row in modules]
    assert set("".join(pixels[:edge] + pixels[-edge:])) == {"1"}
    assert {line[:edge] + line[-edge:] for line in pixels} == {"1" * 2 * edge}


def lines_of(png: bytes) -> tuple[int, list[str]]:
    """Read a black and white PNG without filters: its width, and its lines as ones and zeros."""
    width, height = struct.unpack(">II", png[16:24])
    data = zlib.decompress(png[png.index(b"IDAT") + 4 : -16])
    step = len(data) // height
    lines = (int.from_bytes(data[n * step + 1 : (n + 1) * step], "big") for n in range(height))
    return width, [f"{line:0{(step - 1) * 8}b}"[:width] for line in lines]


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


def test_a_notice_tells_the_purchaser_the_first_name_the_reason_and_what_to_do_but_no_code() -> None:
    mail = render("gift_undeliverable", card(recipient_name="Mia Müller-Wu", reason="email_refused"))

    assert mail.subject == "Your gift for Mia could not be delivered"
    for part in (mail.text, Page(mail.html).text):
        for fact in ("Mia", "The e-mail address does not accept mail.", "ending in 44TN", "$1,250.50", "Ask Mia"):
            assert fact in part
        assert not re.search(f"Müller|Leo|{CODE}", part)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_is_said_in_every_language_and_an_unknown_one_is_said_vaguely(language: str) -> None:
    said = [
        render("gift_undeliverable", card(locale=language, reason=r)).text for r in (*REASONS, "nobody knows", None)
    ]

    assert len(set(said)) == len(REASONS)
    assert said[-1] == said[-2] == said[REASONS.index("other")]


@pytest.mark.parametrize(
    ("name", "first"),
    [("Mia", "Mia"), ("Mia Müller", "Mia"), ("Dr. Mia Müller", "Mia"), ("Mia, darling", "Mia"), ("Dr.", "Dr."),
     ("山田花子", "山田花子"), ("  Mia\n Wu", "Mia"), ("", "")],
)  # fmt: skip
def test_the_first_name_is_taken_from_a_whole_one(name: str, first: str) -> None:
    assert first_name(name) == first


def test_a_long_name_is_shortened_in_the_subject_and_whole_in_the_message() -> None:
    name = "Maximiliane Friederike Charlotte von und zu Hohenlohe-Schillingsfürst"

    mail = render("gift_card", card(sender_name=name))

    assert mail.subject == "Maximiliane Friederike… sent you a $1,250.50 gift card"
    assert name in mail.text


@pytest.mark.parametrize("missing", ["recipient_name", "sender_name", "personal_message"])
@pytest.mark.parametrize("template_id", TEMPLATES)
@pytest.mark.parametrize("nothing", [None, "", " \n", "\u200e\u200b"])
def test_a_name_or_message_that_is_not_there_leaves_no_gap(template_id: str, missing: str, nothing: str | None) -> None:
    mail = render(template_id, card(**{missing: nothing}))

    for part in (mail.subject, mail.text, Page(mail.html).text):
        assert "None" not in part
        assert " ," not in part


def test_a_gift_without_a_code_is_a_content_error_and_a_reminder_without_one_is_none() -> None:
    with pytest.raises(ProviderError) as raised:
        render("gift_card", card(code=None))

    assert (raised.value.error_class, raised.value.code) == (ErrorClass.CONTENT, "no_code")
    assert render("expiry_reminder", card(code=None)).text


def test_neither_a_view_nor_a_rendered_message_shows_anything_private_in_its_repr() -> None:
    view = card(personal_message="my secret", unsubscribe_url="https://shop.example.com/u/1", sender_name=None)

    shown = repr(view) + repr(render("gift_card", view))

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
        ("fr", "1\u202f250,50\u00a0$US", "31 décembre 2026"),
        ("es", "1.250,50\u00a0US$", "31 de diciembre de 2026"),
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


def test_a_language_is_added_by_adding_words_and_found_from_the_region_down(folder: Path) -> None:
    add_language(folder, "pt", "Olá")

    assert render("gift_card", card(locale="pt-BR")).subject == "Olá"
    assert language_of("gift_card", "pt-BR") == "pt"
    assert language_of("expiry_reminder", "pt-BR") == "en"
    assert render("gift_card", card(locale="pt-PT")).language == "pt"


def test_a_region_says_only_what_it_says_differently(folder: Path) -> None:
    add_language(folder, "pt", "Olá")
    (folder / "pt-BR").mkdir()
    (folder / "pt-BR" / "gift_card.toml").write_text('subject = "Oi"')
    forget()

    brazil, portugal = (render("gift_card", card(locale=locale)) for locale in ("pt-BR", "pt-PT"))

    assert (brazil.language, brazil.subject) == ("pt-BR", "Oi")
    assert (portugal.language, portugal.subject) == ("pt", "Olá")
    assert brazil.version != portugal.version


def test_the_html_names_its_language_and_direction(folder: Path) -> None:
    add_language(folder, "he", "שלום")

    assert Page(render("gift_card", card(locale="sv")).html).all("html") == [{"lang": "en", "dir": "ltr"}]
    assert Page(render("gift_card", card(locale="ja")).html).all("html") == [{"lang": "ja", "dir": "ltr"}]
    assert Page(render("gift_card", card(locale="he")).html).all("html") == [{"lang": "he", "dir": "rtl"}]


def test_days_are_counted_by_the_plural_rules_of_the_language(folder: Path) -> None:
    shutil.copytree(folder / "en", folder / "pl")
    reminder = folder / "pl" / "expiry_reminder.toml"
    forms = "\n".join(f'{form} = "{{days}} {form}"' for form in ("one", "few", "many", "other"))
    reminder.write_text(reminder.read_text().partition("[when]")[0] + f"[when]\n{forms}\n")
    forget()

    said = [render("expiry_reminder", card(locale="pl", days_left=n)).subject.split()[-1] for n in (1, 2, 5, 22, 25)]

    assert said == ["one", "few", "many", "few", "many"]


# Which template it was


def test_a_rendered_message_names_its_language_and_the_version_of_its_template() -> None:
    mail = render("gift_card", card(locale="de-AT"))

    assert (mail.language, mail.version) == ("de", version("gift_card", "de"))
    assert re.fullmatch("[0-9a-f]{12}", mail.version)


def test_no_two_templates_and_no_two_languages_have_the_same_version() -> None:
    versions = {version(template_id, language) for template_id in TEMPLATES for language in LANGUAGES}

    assert len(versions) == len(TEMPLATES) * len(LANGUAGES)


@pytest.mark.parametrize(
    ("changed", "others"),
    [
        ("layout.html", set()),
        ("gift_card.html", {("expiry_reminder", "de"), ("gift_undeliverable", "fr")}),
        ("gift_card.txt", {("expiry_reminder", "de")}),
        ("de/gift_card.toml", {("gift_card", "en"), ("expiry_reminder", "de")}),
        ("de/common.toml", {("gift_card", "en")}),
    ],
)
def test_a_version_changes_with_any_file_that_makes_the_template_and_with_no_other(
    folder: Path, changed: str, others: set[tuple[str, str]]
) -> None:
    before = {pair: version(*pair) for pair in (*others, ("gift_card", "de"))}
    path = folder / changed
    path.write_text(path.read_text() + "\n")
    forget()

    after = {pair: version(*pair) for pair in before}

    assert {pair for pair in before if before[pair] == after[pair]} == others


# What goes wrong


@pytest.mark.parametrize("template_id", ["nothing", "../layout", "layout", "common", ""])
def test_an_unknown_template_is_a_content_error(template_id: str) -> None:
    with pytest.raises(ProviderError) as raised:
        render(template_id, card())

    assert (raised.value.error_class, raised.value.code) == (ErrorClass.CONTENT, "no_template")


@pytest.mark.parametrize("broken", ["{{ nothing_of_this_name }}", "{{ say('nothing_of_this_name') }}"])
def test_a_template_that_names_what_is_not_there_is_a_content_error(folder: Path, broken: str) -> None:
    (folder / "gift_card.txt").write_text(broken)

    with pytest.raises(ProviderError, match="nothing_of_this_name") as raised:
        render("gift_card", card())

    assert raised.value.error_class is ErrorClass.CONTENT


def test_a_word_that_names_what_is_not_there_is_a_content_error(folder: Path) -> None:
    (folder / "en" / "gift_card.toml").write_text('subject = "{nothing_of_this_name}"')

    with pytest.raises(ProviderError, match="nothing_of_this_name"):
        render("gift_card", card())


def test_a_word_of_another_template_cannot_name_the_code(folder: Path) -> None:
    (folder / "en" / "expiry_reminder.toml").write_text('subject = "{code}"')

    with pytest.raises(ProviderError, match="code"):
        render("expiry_reminder", card())


def test_a_template_cannot_reach_out_of_its_sandbox(folder: Path) -> None:
    (folder / "gift_card.txt").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")

    with pytest.raises(ProviderError, match="unsafe"):
        render("gift_card", card())
