"""Take pictures of pages with the system's Chromium, over its debugging pipe: one process for all of them."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)  # fmt: skip
# With that flag Chromium takes orders on file number 3 and answers on 4: JSON, each ended by a zero byte.
START = 'in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out"'
LOADED = "new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', () => done()))"
STOP_S = 10


@dataclass(frozen=True, slots=True)
class Look:
    """Say how a page is looked at: ``width`` in CSS pixels, ``scale`` in pixels of the picture for each of them."""

    name: str
    width: int
    scheme: str = "light"
    scale: float = 1


LOOKS = (Look("light", 640), Look("dark", 640, "dark"), Look("phone", 360, scale=1.5))


class Chromium:
    """Speak the DevTools protocol (Page and Emulation domains) with one open page."""

    def __init__(self, orders: io.FileIO, answers: io.BufferedReader) -> None:
        self._orders, self._said = orders, _messages(answers)
        self._ids = count(1)
        self._session: dict[str, str] = {}
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}

    def picture(self, page: Path, look: Look) -> tuple[bytes, int]:
        """Give a PNG of a whole page, and the width of its content in CSS pixels: too much when it overflows."""
        size = {"width": look.width, "height": 100, "deviceScaleFactor": look.scale, "mobile": look.width < 480}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": look.scheme}])
        self._do("Page.navigate", url=page.resolve().as_uri())
        self._do("Runtime.evaluate", expression=LOADED, awaitPromise=True)
        content = self._do("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": look.width, "height": content["height"], "scale": 1}
        shot = self._do("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"]), round(content["width"])

    def _do(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        order = {"id": number, "method": method, "params": params} | self._session
        self._orders.write(json.dumps(order).encode() + b"\0")
        said = next((said for said in self._said if said.get("id") == number), None)
        if said is None:
            raise OSError("Chromium ended without an answer")
        if "error" in said:
            raise OSError(f"Chromium refuses {method}: {said['error'].get('message')}")
        result: dict[str, Any] = said["result"]
        return result


@contextmanager
def opened(path: str) -> Iterator[Chromium]:
    """Start Chromium, which reaches no network, and end it afterwards.

    Parameters:
        path: of its program; see `program`.

    Raises:
        OSError: it ended early.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        orders, answers = f"{folder}/orders", f"{folder}/answers"
        os.mkfifo(orders)
        os.mkfifo(answers)
        command = ["sh", "-c", START, "sh", orders, answers, path, *FLAGS, f"--user-data-dir={folder}/profile"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603  # our own words
        try:
            with open(orders, "wb", buffering=0) as write, open(answers, "rb") as read:
                yield Chromium(write, read)
        finally:  # with its orders at an end it ends by itself
            _end(process)


def program() -> str | None:
    """Find Chromium; None when there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def _messages(answers: io.BufferedReader) -> Iterator[dict[str, Any]]:
    rest = b""
    while chunk := answers.read1():
        *whole, rest = (rest + chunk).split(b"\0")
        yield from map(json.loads, whole)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
