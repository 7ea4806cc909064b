"""What goes wrong, as a page for people and as JSON for programs: what, why, and the way out."""

from __future__ import annotations

from typing import Any

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from services.console.session import Refused
from services.console.web import pages, sessions
from services.console.web.access import API
from services.console.web.attempts import Locked
from services.console.web.screens import back
from shared import db, logs

TITLES = {401: "Sign in", 403: "Not allowed", 404: "Not here", 405: "Not so", 409: "Not done", 422: "Not understood"}
TITLES |= {429: "Wait a little", 503: "The database is away", 500: "Something broke"}
AWAY = "the database does not answer: nothing was changed; try again in a moment"
BROKEN = "this is a defect of the console; its log says more. Nothing was changed"


def install(app: FastAPI) -> None:
    """Answer every error of an app."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Locked, _locked)
    app.add_exception_handler(Refused, lambda request, error: wrong(request, 409, str(error)))
    app.add_exception_handler(psycopg.DatabaseError, _database)
    for away in db.AWAY:
        app.add_exception_handler(away, lambda request, _: wrong(request, 503, AWAY, {"Retry-After": "5"}))
    app.add_exception_handler(Exception, lambda request, _: wrong(request, 500, BROKEN))


def wrong(request: Request, status: int, line: str, headers: dict[str, str] | None = None) -> Response:
    """Say what is wrong. After a form it is said on the page that the form was on."""
    if request.url.path.startswith(API):
        return JSONResponse({"detail": line}, status, headers)
    if request.method == "POST" and request.url.path.startswith("/acts/") and status in (409, 422, 503):
        answer = RedirectResponse(back(request), 303)
        sessions.say(answer, line, wrong=True)
        return answer
    page = pages.render(request, "wrong.html", {"title": TITLES.get(status, "Not done"), "line": line}, status=status)
    page.headers.update(headers or {})
    return page


def _http(request: Request, error: Any) -> Response:
    if error.status_code == 303:
        return RedirectResponse(error.headers["Location"], 303)
    return wrong(request, error.status_code, str(error.detail), error.headers)


def _invalid(request: Request, error: Any) -> Response:
    """Name each field and what is wrong with it, without its value."""
    return wrong(request, 422, "; ".join(f"{_field(e['loc'])}: {_words(e['msg'])}" for e in error.errors()))


def _field(path: tuple[int | str, ...]) -> str:
    return ".".join(map(str, path[1:])) or str(path[0])


def _words(message: str) -> str:
    return "must be given" if message == "Field required" else message.removeprefix("Value error, ")


def _locked(request: Request, error: Any) -> Response:
    return wrong(request, 429, str(error), {"Retry-After": str(error.wait_s)})


def _database(request: Request, error: Any) -> Response:
    """Tell what the database refuses of what was given (classes 22, 23 and P0); all else is a defect."""
    if isinstance(error, db.TOO_LONG):
        return wrong(request, 503, "the database took too long: narrow down what you look for, or try again")
    if isinstance(error, psycopg.DataError) or (error.sqlstate or "")[:2] in ("22", "23", "P0"):
        return wrong(request, 409, error.diag.message_primary or "the database cannot hold this text")
    logs.get().error("console_broke", **logs.place(error))
    return wrong(request, 500, BROKEN)
