"""Screens and acts: each is written once, and served twice, as a page and at the same path under /api/v1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AfterValidator, BaseModel, Field

from services.console.session import Refused, kept
from services.console.web import pages, sessions
from services.console.web.access import API, Guarded
from shared import db

Data = TypeVar("Data", bound=Callable[..., dict[str, Any]])
A = TypeVar("A", bound="Act")
router = APIRouter(route_class=Guarded)


def _reason(given: str) -> str:
    try:
        return kept(given)
    except Refused as error:
        raise ValueError(str(error).removeprefix("reason: ")) from None


class Act(BaseModel):
    """What somebody wants done, and why."""

    reason: Annotated[str, Field(max_length=200, description="Why; kept for ever."), AfterValidator(_reason)]


class Done(BaseModel):
    """What came of an act."""

    said: str


def screen(path: str, template: str) -> Callable[[Data], Data]:
    """Serve what a function finds: as a page made by a template, and as JSON.

    The function's parameters are those of the path and the query, as FastAPI reads them; its docstring is that of the
    API. It gives a dictionary, which the template has as its variables.
    """

    def register(data: Data) -> Data:
        def page(request: Request, found: Annotated[dict[str, Any], Depends(data)]) -> Response:
            return pages.render(request, template, found)

        # Built here, since a name of this function's means nothing to FastAPI.
        page.__annotations__ = {"request": Request, "found": Annotated[dict[str, Any], Depends(data)]}
        name = data.__name__
        router.add_api_route(path, page, methods=["GET"], include_in_schema=False, response_model=None)
        router.add_api_route(f"{API}{path.rstrip('/')}" or API, data, methods=["GET"], name=name, operation_id=name)
        return data

    return register


def act(does: Callable[[db.Connection, A, str], str], *, once: bool = False) -> Callable[[db.Connection, A, str], str]:
    """Serve an act at /acts/NAME: from a form of a page, which then shows the line that it gives, and from JSON.

    The function gets a connection in a transaction of its own, the act, and the login of whoever wants it.

    Parameters:
        once: show the line on a page of its own, since no cookie may carry it.
    """
    model, name = get_type_hints(does)["given"], does.__name__

    def form(request: Request, given: Any) -> Response:
        if once:
            return pages.render(request, "once.html", {"line": _do(request, does, given), "back": back(request)})
        answer = RedirectResponse(back(request), 303)
        sessions.say(answer, _do(request, does, given))
        return answer

    def api(request: Request, given: Any) -> Done:
        return Done(said=_do(request, does, given))

    form.__annotations__ = {"request": Request, "given": Annotated[model, Form()]}
    api.__annotations__ = {"request": Request, "given": model}
    api.__doc__ = does.__doc__
    router.add_api_route(f"/acts/{name}", form, methods=["POST"], include_in_schema=False, response_model=None)
    path = f"{API}/acts/{name}"
    router.add_api_route(path, api, methods=["POST"], name=name, operation_id=name, response_model=Done)
    return does


def _do(request: Request, does: Callable[[db.Connection, A, str], str], given: A) -> str:
    with db.transaction() as connection:
        return does(connection, given, request.state.user.login)


def back(request: Request) -> str:
    """Give the page of ours that a form was on, else the first page."""
    return came_back(str(getattr(request.state, "back", None) or "/"))


def came_back(url: str) -> str:
    """Keep path and query of a URL, nothing that leads elsewhere."""
    parts = urlsplit(url)
    path = "/" + parts.path.lstrip("/\\")
    return path + (f"?{parts.query}" if parts.query else "")
