"""Write messages to files that can be looked at: text, HTML, pictures, and one page with all of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.delivery import sms
from services.delivery.preview.chromium import LOOKS, Chromium
from services.delivery.preview.samples import Message
from services.delivery.words import words


def write(message: Message, folder: Path) -> None:
    """Write the text and the HTML of a message; the SMS, where there is one, follows the text."""
    path = folder / message.language / message.name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"Subject: {message.mail.subject}\n\n{message.mail.text}"
    if "sms" in words(message.template_id, message.language):
        said = sms.text(message.view, message.template_id)
        text += f"\n--- SMS, {said.segments} segments ---\n{said.body}\n"
    path.with_name(f"{path.name}.txt").write_text(text, "utf-8")
    path.with_name(f"{path.name}.html").write_text(_with_code_drawn(message), "utf-8")


def shoot(message: Message, folder: Path, browser: Chromium) -> Iterator[str]:
    """Take a picture of a message in every look, and tell in which looks it is too wide."""
    page = folder / message.language / f"{message.name}.html"
    for look in LOOKS:
        picture, width = browser.picture(page, look)
        page.with_name(picture_name(message, look.name)).write_bytes(picture)
        if width > look.width:
            yield f"{look.name}: {width} pixels are wider than {look.width}"


def picture_name(message: Message, look: str) -> str:
    """Name the file of a picture; that of the light look is named as the message is."""
    return f"{message.name}.png" if look == "light" else f"{message.name}.{look}.png"


def write_sheet(messages: list[Message], folder: Path, *, pictures: bool) -> Path:
    """Write the page that shows them all."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    looks = [look.name for look in LOOKS] if pictures else []
    given = {"messages": messages, "looks": looks, "picture_name": picture_name}
    path = folder / "index.html"
    path.write_text(environment.get_template("sheet.html").render(given), "utf-8")
    return path


def _with_code_drawn(message: Message) -> str:
    # In a mail the picture is a part of its own.
    data = base64.b64encode(message.mail.qr_png or b"").decode()
    return message.mail.html.replace("cid:code", f"data:image/png;base64,{data}")
