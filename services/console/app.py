"""The console in a browser, and as a JSON API: ``python -m services.console.app``.

To add a screen, write in a module of ``services/console/web``, and import that module below:

    @screen("/workers", "workers.html")          # the page, and GET /api/v1/workers
    def workers(queue: Queue | None = None) -> dict[str, Any]:
        "List what each worker does now."        # what the API's description says
        with db.transaction() as connection:
            return {"workers": connection.execute(...).fetchall()}

then ``templates/workers.html`` (it extends ``page.html`` and has the dictionary's keys as variables), a line of
``access.ROLES`` ("GET /workers": Role.VIEWER, for page and API), and one of ``pages.NAV`` to have it in the menu.

To add an act, give a model of what it needs beside the reason, and one function; its name is its path:

    class OfJob(Act):
        job: UUID

    @act
    def retry_job(connection: db.Connection, given: OfJob, by: str) -> str:     # POST /acts/retry_job, /api/v1/acts/...
        "Run a failed job again."
        return actions.retry(...)                # checks, changes, keeps the audit row; gives the line to show

then "POST /acts/retry_job": Role.OPERATOR in ``access.ROLES``, and its form in a template, such as
``{{ ui.act("retry_job", "Retry", hidden={"job": job.id}) }}``, see ``templates/macros.html``. ``Refused`` refuses.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from services.console import bulk_turns, lookout
from services.console.web import (
    answers,
    audit,
    bulk,
    cards,
    deliveries,
    forecast,
    jobs,
    login,
    oidc,
    overview,
    pages,
    screens,
    sending,
    standing,
    suppressions,
    templates,
)
from services.console.web.access import Guarded, needed
from services.console.web.shields import Shields
from shared import db, health, logs
from shared.body_limit import BodyLimit
from shared.secret_files import SettingsError
from shared.settings import settings

__all__ = [
    "application",
    "audit",
    "bulk",
    "cards",
    "deliveries",
    "forecast",
    "jobs",
    "overview",
    "standing",
    "suppressions",
    "templates",
]

LARGEST_BODY = 64 * 1024
THREADS = 16


def application() -> FastAPI:
    """Make the ASGI app.

    Raises:
        LookupError: a route has no role in ``access.ROLES``.
    """
    app = FastAPI(
        title="giftcard-jobs console",
        description="What the console's pages show and do, for programs.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # Not included but given: so each route is there as it is, to be looked at by `routes`.
        routes=[*login.router.routes, *oidc.router.routes, *screens.router.routes, *sending.router.routes],
    )
    app.mount("/static", StaticFiles(directory=pages.HERE / "static"), name="static")
    app.router.routes.extend(_elsewhere().routes)
    for route in routes(app):
        for method in route.methods or ():
            needed(method, route.path_format)
    answers.install(app)
    app.add_middleware(BodyLimit, usual=LARGEST_BODY, larger={})
    app.add_middleware(Shields)
    return app


def routes(app: FastAPI) -> list[APIRoute]:
    """Give every route but the static files, each of which must ask who comes."""
    found = [route for route in app.routes if getattr(route, "name", "") != "static"]
    if strange := [route for route in found if not isinstance(route, Guarded)]:
        raise LookupError(f"{strange} would serve anybody: let its router have route_class=Guarded")
    return [route for route in found if isinstance(route, Guarded)]


def _elsewhere() -> APIRouter:
    router = APIRouter(route_class=Guarded)

    @router.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    def nothing(path: str) -> Response:
        raise HTTPException(404, f"there is no page /{path[:100]}")

    return router


class Probe:
    """Say how this process is."""

    def dead(self) -> list[str]:
        """Name what only a restart mends: nothing; the web server's own /livez says more."""
        return []

    def missing(self) -> list[str]:
        """Name what is away now."""
        return (["stopping"] if db.stopping.is_set() else []) + health.database_missing()


@contextmanager
def running() -> Iterator[None]:
    """Hold open what this process needs beside its web server."""
    logs.configure(settings().log_level)
    if not settings().console_keys:
        raise SettingsError("JOBS_CONSOLE_KEYS is empty: give a secret to sign sessions, the same to every replica")
    db.stopping.clear()
    db.open_pool(THREADS)
    health.serve(Probe())
    loops = {"bulk": bulk_turns.loop, "lookout": lookout.loop}
    threads = [threading.Thread(target=loop, args=(db.stopping,), name=name) for name, loop in loops.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        db.stopping.set()
        for thread in threads:
            thread.join(settings().shutdown_grace_s)
        health.stop()
        db.close_pool()
        logs.get().info("console_stopped")


def main() -> None:
    """Serve until SIGTERM; what is being answered then is finished first."""
    # uvicorn stops in its own handler, then raises the signal again for this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: db.stopping.set())
    with running():
        uvicorn.run(
            application(),
            host=settings().console_host,
            port=settings().console_port,
            log_config=None,
            access_log=False,  # a search can hold what is nobody's business
            server_header=False,
            proxy_headers=bool(settings().console_proxies),
            forwarded_allow_ips=list(settings().console_proxies),
            timeout_graceful_shutdown=int(settings().shutdown_grace_s),
        )


if __name__ == "__main__":
    main()
