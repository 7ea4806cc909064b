"""The page behind List-Unsubscribe: a GET shows a button and changes nothing, a POST ends the reminders.

Source: RFC 8058. Mail scanners follow links, so only the POST with ``List-Unsubscribe=One-Click`` counts; it may come
from a mailbox provider, without cookies and without a person, or from the button.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from services.delivery import links
from shared import db, logs, metrics, suppressions
from shared.settings import settings

SAFETY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address of this page is a key
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
# title, question, button, done, wrong
WORDS = {
    "en": (
        "Reminders",
        "Do you want no more reminders about your gift cards? Gifts themselves will still reach you.",
        "Stop reminders",
        "Done. You will get no more reminders.",
        "This link is incomplete. Please open it again from the mail.",
    ),
    "de": (
        "Erinnerungen",
        "Möchten Sie keine Erinnerungen an Ihre Geschenkkarten mehr? Geschenke selbst erreichen Sie weiterhin.",
        "Erinnerungen abbestellen",
        "Erledigt. Sie erhalten keine Erinnerungen mehr.",
        "Dieser Link ist unvollständig. Bitte öffnen Sie ihn noch einmal aus der E-Mail.",
    ),
    "es": (
        "Recordatorios",
        "¿No desea más recordatorios sobre sus tarjetas regalo? Los regalos le seguirán llegando.",
        "Dejar de recibir recordatorios",
        "Hecho. No recibirá más recordatorios.",
        "Este enlace está incompleto. Ábralo de nuevo desde el correo.",
    ),
    "fr": (
        "Rappels",
        "Ne plus recevoir de rappels sur vos cartes cadeaux ? Les cadeaux vous parviendront toujours.",
        "Arrêter les rappels",
        "C’est fait. Vous ne recevrez plus de rappels.",
        "Ce lien est incomplet. Veuillez l’ouvrir à nouveau depuis l’e-mail.",
    ),
    "ja": (
        "お知らせの停止",
        "ギフトカードの期限のお知らせを停止しますか。ギフトそのものは今後も届きます。",
        "お知らせを停止する",
        "停止しました。今後お知らせは届きません。",
        "リンクが正しくありません。メールからもう一度開いてください。",
    ),
}


async def show(request: Request) -> Response:
    """Show the button."""
    known = links.reader(request.path_params["token"], settings())
    return _page(request, "ask") if known else _refused(request)


async def act(request: Request) -> Response:
    """End the reminders to whom the link was sent."""
    known = links.reader(request.path_params["token"], settings())
    if known is None:
        return _refused(request)
    async with request.form(max_files=0, max_fields=10) as form:
        one_click = form.get("List-Unsubscribe") == "One-Click"
    if not one_click:
        return _page(request, "ask", status=400)
    await run_in_threadpool(_unsubscribe, known)
    return _page(request, "done")


def _unsubscribe(known: links.Reader) -> None:
    with db.transaction() as connection:
        new = suppressions.suppress(
            connection,
            "email",
            known.address_hash,
            "unsubscribe",
            scope=suppressions.REMINDERS,
            source="one-click",
            delivery_id=known.delivery_id,
        )
    logs.get().info("unsubscribed", delivery_id=str(known.delivery_id), new=new)


def _refused(request: Request) -> Response:
    metrics.webhooks_refused.labels("unsubscribe", "bad_token").inc()
    return _page(request, "wrong", status=403)


def _page(request: Request, step: str, status: int = 200) -> Response:
    language = _language(request.headers.get("Accept-Language", ""))
    words = dict(zip(("title", "ask", "button", "done", "wrong"), WORDS[language], strict=True))
    page = _template().render(lang=language, step=step, words=words, shop_name=settings().shop_name)
    return HTMLResponse(page, status, headers=SAFETY | {"Content-Language": language, "Vary": "Accept-Language"})


def _language(accepted: str) -> str:
    wanted = (part.split(";")[0].strip()[:2].lower() for part in accepted.split(",")[:20])
    return next((language for language in wanted if language in WORDS), "en")


@cache
def _template() -> Template:
    folder = Path(__file__).parent / "pages"
    pages = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    return pages.get_template("unsubscribe.html")
