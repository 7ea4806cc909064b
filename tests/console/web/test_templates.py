"""The console shows what the delivery service would send: the same bytes, in a frame that runs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.console.web.templates import FOLDER
from services.delivery.preview.files import write
from services.delivery.preview.samples import messages
from tests.console.web.conftest import Browser


def files(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text("utf-8") for file in folder.rglob("*.*")}


def test_what_is_shown_is_what_the_templates_make_now(tmp_path: Path) -> None:
    for message in messages():
        if message.sample == "usual":
            write(message, tmp_path)

    assert files(FOLDER) == files(tmp_path), "run 'make templates', and commit what it writes"


@pytest.mark.parametrize("language", ["de", "en", "es", "fr", "ja"])
def test_each_language_is_shown_as_text_and_as_the_mail_itself(browser: Browser, language: str) -> None:
    client = browser("vera")

    page = client.get(f"/templates?template=gift_card&language={language}").text
    mail = client.get(f"/templates/{language}/gift_card")

    assert f'src="/templates/{language}/gift_card"' in page
    assert "Subject: " in page
    assert mail.text == (FOLDER / language / "gift_card.html").read_text("utf-8")
    assert mail.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize("path", ["/templates?language=xx", "/templates?template=..", "/templates/../../etc/passwd"])
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_no_other_file_is_shown(browser: Browser, prefix: str, path: str) -> None:
    answer = browser("vera").get(prefix + path)

    assert answer.status_code in (404, 409)
    assert "root:" not in answer.text
