"""A real browser on a real console: Chromium of this system, driven by Playwright, which keeps what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright

from services.delivery.preview.chromium import program
from tests import packages
from tests.console.web.conftest import PASSWORD


@dataclass
class Visit:
    """A page that somebody looks at, and the errors of its scripts, of its policy and of its server so far."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)

    def keep(self, kind: str, line: str) -> None:
        """Keep what a browser would only show to those who look for it."""
        if kind in ("script", "error", "warning"):
            self.wrong.append(f"{kind}: {line}")

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sign_in(self, login: str) -> None:
        self.go("/login")
        self.page.get_by_label("Login").fill(login)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.url + "/")

    def inaccessible(self) -> list[str]:
        """Name what axe finds, with where it is, once nothing moves: half faded in has less contrast."""
        self.page.evaluate("Promise.allSettled(document.getAnimations().map(one => one.finished)).then(() => 0)")
        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in found]

    def overflows(self) -> bool:
        """Say whether the page is wider than the window."""
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.page.evaluate(wide))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium. Without one the test is skipped on a laptop and fails in CI."""
    path = packages.need(program, "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of this machine, and give its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    [port] = {socket.getsockname()[1] for one in server.servers for socket in one.sockets}
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@contextmanager
def visiting(browser: Browser, url: str, *, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """Open a window of its own."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    visit = Visit(page, url)
    page.on("pageerror", lambda error: visit.keep("script", str(error)))
    page.on("console", lambda said: visit.keep(said.type, said.text))
    page.on("response", lambda got: visit.keep("error" if got.status >= 400 else "", f"{got.status} for {got.url}"))
    yield visit
    context.close()
