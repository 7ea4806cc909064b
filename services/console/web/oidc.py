"""Signing in through an OpenID Connect provider: authorization code flow with state, nonce and PKCE.

What comes after is the same for all: a session in a signed cookie, and the role that the provider's groups map to.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from joserfc.errors import JoseError

from services.console.web import sessions
from services.console.web.access import Guarded
from services.console.web.login import form
from services.console.web.screens import came_back
from services.console.web.users import Role, User
from shared import logs
from shared.options import OidcProvider
from shared.settings import settings

BACK = "/login/oidc/callback"
WAIT_S = 10
LEEWAY_S = 30  # between the provider's clock and ours
# As LoginName of the settings: it is kept in audit rows and messages.
LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")

router = APIRouter(route_class=Guarded)


class NotAdmitted(Exception):
    """Say why somebody whom the provider knows does not come in."""


@router.get("/login/oidc", include_in_schema=False)
async def leave(request: Request, next: str = "/") -> Response:
    """Send somebody to the provider."""
    client = _client(_provider())
    state: dict[str, Any] = {}
    request.scope["session"] = state
    try:
        answer: Response = await client.authorize_redirect(request, settings().console_url + BACK)
    except (httpx2.HTTPError, ValueError, RuntimeError) as error:
        return _refused(request, "the provider does not answer: try again in a moment", error, 503)
    sessions.begin_try(answer, {"state": state, "next": came_back(next)})
    return answer


@router.get(BACK, include_in_schema=False)
async def come_back(request: Request) -> Response:
    """Let somebody in who comes back from the provider, if it vouches for them and they have a role."""
    provider, tried = _provider(), sessions.tried(request)
    request.scope["session"] = tried.get("state", {})
    try:
        user = admitted(provider, await _claims(request, provider))
    except NotAdmitted as error:
        return _refused(request, str(error), error, 403)
    except (AuthlibBaseError, JoseError) as error:
        return _refused(request, "the provider's answer does not count: sign in anew", error, 401)
    except (httpx2.HTTPError, ValueError, RuntimeError) as error:
        return _refused(request, "the provider does not answer: try again in a moment", error, 503)
    logs.get().info("signed_in", user=user.login, through="oidc")
    answer = RedirectResponse(tried["next"], 303)
    sessions.end_try(answer)
    sessions.keep(answer, sessions.Session.through_provider(user))
    return answer


def admitted(provider: OidcProvider, claims: dict[str, Any]) -> User:
    """Give who the claims of an ID token are to us; of several groups, the highest role counts.

    Raises:
        NotAdmitted: they have no role, or no login that may be kept, or that of a user of the settings.
    """
    login, given = claims.get(provider.login_claim), claims.get(provider.roles_claim) or []
    groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    roles = [
        Role[provider.roles[group].upper()] for group in groups if isinstance(group, str) and group in provider.roles
    ]
    if not roles:
        raise NotAdmitted("you have no role here: ask an administrator for one of the groups that may come in")
    if not isinstance(login, str) or not LOGIN.fullmatch(login):
        raise NotAdmitted(
            f"your {provider.login_claim} is no login as the audit keeps it (a letter, then a-z 0-9 _.:-)"
        )
    if login in settings().console_users:
        raise NotAdmitted("your login is also that of a user with a password here: an administrator must rename one")
    return User(login, max(roles))


async def _claims(request: Request, provider: OidcProvider) -> dict[str, Any]:
    """Change the code for an ID token, and give its claims once its signature, times, nonce and names are right."""
    names = {"iss": provider.issuer, "aud": provider.client_id}
    wanted = {name: {"essential": True, "value": value} for name, value in names.items()}
    wanted |= {name: {"essential": True} for name in ("exp", "iat", "sub", "nonce")}
    token = await _client(provider).authorize_access_token(request, claims_options=wanted, leeway=LEEWAY_S)
    if "userinfo" not in token:
        raise NotAdmitted("the provider sent no ID token: its client must be one of OpenID Connect")
    return dict(token["userinfo"])


def _provider() -> OidcProvider:
    provider = settings().console_oidc
    if provider is None:
        raise HTTPException(404, "nobody signs in through a provider here: JOBS_CONSOLE_OIDC is not set")
    return provider


def _client(provider: OidcProvider) -> Any:
    """Make a client that knows nothing yet: it asks the provider for its addresses and keys as they are now."""
    trusted = ssl.create_default_context()  # SSL_CERT_FILE counts
    return OAuth().register(
        "provider",
        client_id=provider.client_id,
        client_secret=provider.client_secret.get_secret_value(),
        server_metadata_url=provider.issuer.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={
            "scope": provider.scope,
            "code_challenge_method": "S256",
            "verify": trusted,
            "timeout": WAIT_S,
        },
    )


def _refused(request: Request, line: str, error: Exception, status: int) -> Response:
    logs.get().info("sign_in_refused", through="oidc", why=getattr(error, "error", "") or type(error).__name__)
    answer = form(request, wrong=line, status=status)
    sessions.end_try(answer)
    return answer
