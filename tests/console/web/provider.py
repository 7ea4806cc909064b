"""An OpenID Connect provider on this machine: discovery, authorization, token and keys, over HTTP, with RS256.

It lets in whoever it is told to, without a page of its own, and can be told to lie in its tokens.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.console.web.browsers import served

CLIENT, SECRET = "giftcard-console", "of this provider"
KEY, ANOTHER_KEY = (RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}) for _ in range(2))


@dataclass
class Provider:
    """What it says next. ``lies`` replaces claims of an ID token; None leaves one out."""

    url: str = ""
    groups: Any = field(default_factory=lambda: ["shop-operators"])
    login: str = "olga"
    lies: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: KEY)
    denies: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Give JOBS_CONSOLE_OIDC."""
        roles = {"shop-viewers": "viewer", "shop-operators": "operator", "shop-admins": "admin"}
        return {"issuer": self.url, "client_id": CLIENT, "client_secret": SECRET, "roles": roles}

    def token(self, nonce: str) -> str:
        """Sign an ID token."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 300, "nonce": nonce}
        claims |= {"preferred_username": self.login, "groups": self.groups, **self.lies}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


@contextmanager
def provided() -> Iterator[Provider]:
    """Serve a provider."""
    provider, app = Provider(), FastAPI()

    @app.get("/.well-known/openid-configuration")
    def discovery() -> dict[str, Any]:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": provider.url, **{name: f"{provider.url}/{path}" for name, path in paths.items()}}

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [KEY.as_dict(private=False)]}

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        provider.asked.append(asked)
        back = f"{asked['redirect_uri']}?state={asked['state']}"
        if provider.denies:
            return RedirectResponse(f"{back}&error=access_denied", 302)
        code = secrets.token_urlsafe(16)
        provider.codes[code] = asked
        return RedirectResponse(f"{back}&code={code}", 302)

    @app.post("/token")
    def token(request: Request, code: Annotated[str, Form()], code_verifier: Annotated[str, Form()] = "") -> Response:
        asked = provider.codes.pop(code, None)  # good for once
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {basic}":
            return JSONResponse({"error": "invalid_client"}, 401)
        digest = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked.get("code_challenge") != digest or asked.get("code_challenge_method") != "S256":
            return JSONResponse({"error": "invalid_grant"}, 400)
        answer = {"access_token": "at", "token_type": "Bearer", "expires_in": 300}
        return JSONResponse(answer | {"id_token": provider.token(asked["nonce"])})

    with served(app) as provider.url:
        yield provider
