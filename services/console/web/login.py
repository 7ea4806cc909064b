"""Signing in and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from services.console.web import pages, sessions, users
from services.console.web.access import API, Guarded, came_from
from services.console.web.screens import came_back
from shared.settings import settings

router = APIRouter(route_class=Guarded)


@router.get("/livez", include_in_schema=False)
async def livez() -> Response:
    """Say that this process lives."""
    return PlainTextResponse("ok\n")


@router.get("/login", include_in_schema=False)
def login(request: Request, next: str = "/") -> Response:
    """Show the form; its token belongs to a session without a user."""
    return form(request, next=next)


def form(
    request: Request, *, next: str = "/", login: str = "", wrong: str | None = None, status: int = 200
) -> Response:
    """Give the page to sign in on, with a session for its token, and what was wrong."""
    ways = {"passwords": bool(settings().console_users), "provider": settings().console_oidc is not None}
    given = {"next": came_back(next), "login": login, "wrong": wrong, **ways}
    page = pages.render(request, "login.html", given, status=status)
    sessions.keep(page, request.state.session)
    return page


@router.post("/login", include_in_schema=False)
def sign_in(
    request: Request,
    login: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Begin a session."""
    user = users.sign_in(login, password, came_from(request))
    if user is None:
        return form(request, next=next, login=login, wrong="login or password is wrong", status=401)
    answer = RedirectResponse(came_back(next), 303)
    sessions.keep(answer, sessions.Session.of(user))
    return answer


@router.post("/logout", include_in_schema=False)
def logout() -> Response:
    """End a session."""
    answer = RedirectResponse("/login", 303)
    sessions.end(answer)
    return answer


@router.get(f"{API}/me")
def me(request: Request) -> dict[str, Any]:
    """Say who you are, and give the token that a post by cookie must carry as X-CSRF-Token."""
    user: users.User = request.state.user
    return {"login": user.login, "role": user.role.name.lower(), "csrf": request.state.session.csrf}


@router.get(f"{API}/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """Describe this API."""
    found: dict[str, Any] = request.app.openapi()
    return found
