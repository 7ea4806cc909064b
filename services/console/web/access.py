"""Who may go where: one line for each method and path, and the check that stands before every one of them."""

from __future__ import annotations

import secrets
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from services.console.web import sessions, users
from services.console.web.users import Role, User

ANYBODY = None
API = "/api/v1"

# A page and the API's path of the same name have the same role. A route that is not here serves nobody.
ROLES: dict[str, Role | None] = {
    "GET /livez": ANYBODY,
    "GET /login": ANYBODY,
    "POST /login": ANYBODY,
    "GET /login/oidc": ANYBODY,
    "GET /login/oidc/callback": ANYBODY,
    "POST /logout": Role.VIEWER,
    "GET /{path}": Role.VIEWER,  # there is nothing else, which is for those who are signed in to know
    "POST /{path}": Role.VIEWER,
    "GET /api/v1/openapi.json": Role.VIEWER,
    "GET /api/v1/me": Role.VIEWER,
    "POST /api/v1/jobs": Role.OPERATOR,
    # screens
    "GET /": Role.VIEWER,
    "GET /jobs": Role.VIEWER,
    "GET /jobs/{job}": Role.VIEWER,
    "GET /failed": Role.VIEWER,
    "GET /workers": Role.VIEWER,
    "GET /schedules": Role.VIEWER,
    "GET /bulk": Role.VIEWER,
    "GET /bulk/{bulk}": Role.VIEWER,
    "GET /forecast": Role.VIEWER,
    "GET /cards": Role.VIEWER,
    "GET /cards/{card}": Role.VIEWER,
    "GET /deliveries": Role.VIEWER,
    "GET /suppressions": Role.VIEWER,
    "GET /audit": Role.VIEWER,
    "GET /templates": Role.VIEWER,
    "GET /templates/{language}/{template}": Role.VIEWER,
    # acts
    "POST /acts/pause_queue": Role.OPERATOR,
    "POST /acts/resume_queue": Role.OPERATOR,
    "POST /acts/limit_queue": Role.OPERATOR,
    "POST /acts/pause_everything": Role.ADMIN,
    "POST /acts/resume_everything": Role.ADMIN,
    "POST /acts/release_brake": Role.ADMIN,
    "POST /acts/release_breaker": Role.OPERATOR,
    "POST /acts/retry_job": Role.OPERATOR,
    "POST /acts/cancel_job": Role.OPERATOR,
    "POST /acts/promote_job": Role.OPERATOR,
    "POST /acts/move_job": Role.OPERATOR,
    "POST /acts/discard_job": Role.OPERATOR,
    "POST /acts/run_now": Role.OPERATOR,
    "POST /acts/prepare_bulk": Role.OPERATOR,
    "POST /acts/start_bulk": Role.OPERATOR,
    "POST /acts/abort_bulk": Role.OPERATOR,
    "POST /acts/resend_gift": Role.OPERATOR,
    "POST /acts/cancel_delivery": Role.OPERATOR,
    "POST /acts/release_card": Role.OPERATOR,
    "POST /acts/show_recipient": Role.OPERATOR,
    "POST /acts/resolve_delivery": Role.OPERATOR,
    "POST /acts/suppress_address": Role.OPERATOR,
    "POST /acts/lift_suppression": Role.OPERATOR,
}


class Guarded(APIRoute):
    """A route that asks who comes before it reads anything else of a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the guard before the route."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            method, path = request.method, self.path_format
            user = await run_in_threadpool(admit, request, needed(method, path))
            request.state.user = user
            if method != "GET" and not is_basic(request):
                await refuse_forged(request)
            return await answer(request)

        return guarded


def needed(method: str, path: str) -> Role | None:
    """Give the least role for a method and a path template; None: anybody.

    Raises:
        LookupError: nobody has said so.
    """
    of_page = f"{method} {path.removeprefix(API) or '/'}" if path.startswith(API) else ""
    try:
        return next(ROLES[key] for key in (f"{method} {path}", of_page) if key in ROLES)
    except StopIteration:
        raise LookupError(f"no role is declared for {method} {path}: add it to ROLES") from None


def admit(request: Request, role: Role | None) -> User | None:
    """Give who comes, if they may pass.

    Raises:
        HTTPException: 401 for a stranger to the API, 303 to the login for one to a page, 403 for whose role is too low.
        attempts.Locked: too many wrong passwords.
    """
    session = request.state.session = sessions.read(request) or sessions.Session()
    user = _basic(request) if is_basic(request) else session.user()
    if role is not ANYBODY and user is None:
        raise _stranger(request)
    if role is not ANYBODY and user is not None and user.role < role:
        raise HTTPException(403, f"this needs the role {role.name.lower()}; yours is {user.role.name.lower()}")
    return user


def is_basic(request: Request) -> bool:
    """Say whether a program comes with login and password of its own. A browser is never made to send these."""
    return request.url.path.startswith(API) and request.headers.get("Authorization", "").lower().startswith("basic ")


def _basic(request: Request) -> User | None:
    try:
        given = b64decode(request.headers["Authorization"][6:], validate=True).decode()
    except ValueError:
        return None
    login, _, password = given.partition(":")
    return users.sign_in(login[:64], password[:1000], came_from(request))


def came_from(request: Request) -> str:
    """Give the address of a request; uvicorn takes it from X-Forwarded-For behind the proxies of the settings."""
    return request.client.host if request.client else ""


def _stranger(request: Request) -> HTTPException:
    if request.url.path.startswith(API):
        how = "sign in at /login, or send login and password by HTTP Basic"
        browser = "Sec-Fetch-Mode" in request.headers  # it would ask for a password, keep it, and send it by itself
        return HTTPException(401, how, None if browser else {"WWW-Authenticate": 'Basic realm="console"'})
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    there = urlencode({"next": wanted if request.method == "GET" else "/"})
    return HTTPException(303, "sign in", {"Location": f"/login?{there}"})


async def refuse_forged(request: Request) -> None:
    """Let a post by cookie pass only with the token of its session, which no other site can read.

    Raises:
        HTTPException: 403 without it.
    """
    given: object = request.headers.get("X-CSRF-Token")
    if given is None and "json" not in request.headers.get("Content-Type", ""):
        form = await request.form()
        given, request.state.back = form.get("csrf"), form.get("back")
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), request.state.session.csrf.encode()):
        raise HTTPException(403, "this form is too old, or another page sent it: open the page anew, and send it again")
