"""What providers and readers tell us over HTTP: ``python -m services.delivery.webhooks``.

Everything is answered at once: 200 for what was taken in (new or not, useful or not), 403 for a stranger, 413 for too
much, 503 while the database is away, which makes every provider try again.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.delivery import unsubscribe
from services.delivery.reports import inbox, postmark, relay, sendgrid, ses, sns, twilio
from services.delivery.reports.incoming import Incoming, Malformed, Refused, Unavailable
from services.delivery.reports.report import Report
from services.delivery.reports.sweeper import Sweeper
from shared import db, health, logs, metrics
from shared.body_limit import BodyLimit
from shared.settings import settings

Adapter = Callable[[Incoming], list[Report]]
LARGEST_BODY = 64 * 1024
# What a provider documents as its largest post, where that is more.
LARGEST = {"/email/sendgrid": sendgrid.LARGEST_BODY, "/email/ses": ses.LARGEST_BODY}
THREADS = 16
EMPTY_TWIML = ('<?xml version="1.0" encoding="UTF-8"?><Response/>', "text/xml")
TRY_AGAIN = {"Retry-After": "30"}


def application(fetch: sns.Fetch = sns.fetch) -> Starlette:
    """Make the ASGI app.

    Parameters:
        fetch: gets Amazon's certificates and confirms its subscriptions; tests give their own.
    """
    routes = [
        _post("/twilio/status/{delivery_id:uuid}/{token}", twilio.status),
        _post("/twilio/inbound", twilio.inbound, EMPTY_TWIML),
        _post("/email/ses", partial(ses.reports, fetch=fetch)),
        _post("/email/sendgrid", sendgrid.reports),
        _post("/email/postmark", postmark.reports),
        _post("/email/events", relay.reports),
        Route("/unsubscribe/{token}", unsubscribe.show, methods=["GET"]),
        Route("/unsubscribe/{token}", unsubscribe.act, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(BodyLimit, usual=LARGEST_BODY, larger=LARGEST)],
        exception_handlers=dict.fromkeys(db.AWAY, _away),
    )


def _post(path: str, read: Adapter, answer: tuple[str, str] = ("", "text/plain")) -> Route:
    name = path.split("/{")[0].strip("/")

    async def endpoint(request: Request) -> Response:
        incoming = Incoming(
            path=request.url.path,
            body=await request.body(),
            headers=request.headers,
            parameters=request.path_params,
            query=request.url.query,
        )
        status = await run_in_threadpool(_take, name, read, incoming)
        if status is not None:
            return status
        return Response(answer[0], media_type=answer[1])

    return Route(path, endpoint, methods=["POST"], name=name)


def _take(name: str, read: Adapter, incoming: Incoming) -> Response | None:
    """Read a request and take in what it says; the answer to what cannot be taken, or None."""
    try:
        reports = read(incoming)
    except Refused as error:
        metrics.webhooks_refused.labels(name, error.reason).inc()
        logs.get().warning("webhook_refused", route=name, reason=error.reason)
        return PlainTextResponse("not from whom it should be\n", 403)
    except Malformed as error:
        metrics.webhooks_refused.labels(name, "malformed").inc()
        return PlainTextResponse(f"not of the agreed form: {error}\n", 400)
    except Unavailable as error:
        logs.get().warning("webhook_unchecked", route=name, why=str(error))
        return PlainTextResponse("cannot be checked now\n", 503, headers=TRY_AGAIN)
    for report in reports:
        inbox.take(report)
    return None


async def _away(_: Request, error: Exception) -> Response:
    logs.get().warning("database_away", **logs.place(error))
    return PlainTextResponse("try again\n", 503, headers=TRY_AGAIN)


@contextmanager
def running() -> Iterator[None]:
    """Hold open what this process needs beside its web server."""
    logs.configure(settings().log_level)
    db.stopping.clear()
    db.open_pool(THREADS)
    sweeper = Sweeper()
    sweeper.thread.start()
    health.serve(sweeper)
    try:
        yield
    finally:
        db.stopping.set()
        sweeper.thread.join(5)
        health.stop()
        db.close_pool()
        logs.get().info("webhooks_stopped")


def main() -> None:
    """Serve until SIGTERM; what is being answered then is finished first."""
    # uvicorn stops in its own handler, then raises the signal again for this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: db.stopping.set())
    with running():
        uvicorn.run(
            application(),
            host=settings().webhook_host,
            port=settings().webhook_port,
            log_config=None,
            access_log=False,  # a path can be a key
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=int(settings().shutdown_grace_s),
        )


if __name__ == "__main__":
    main()
