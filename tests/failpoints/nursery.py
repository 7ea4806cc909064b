"""A warm process that has imported everything and opened nothing: it forks a child for each piece of work.

A child costs some milliseconds, and is killed, or stands still, as a process of its own. Requests and answers are JSON
lines: ``{"env": …, "do": "relay", "given": []}`` is answered by ``{"pid": 7, "ended": -9}``, or by ``{"pid": 7,
"stopped": true}`` for a child that stands still, which ``{"wake": 7}`` lets go on to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from shared import failpoints, logs
from shared.broker import get_broker
from shared.settings import settings
from tests.failpoints import work


def _child(request: dict[str, Any]) -> None:
    """Do one piece of work with the settings of the request, and end without touching what the parent has."""
    code = 1
    os.dup2(2, 1)  # answers are the parent's
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        settings.cache_clear()
        logs.configure(settings().log_level)
        get_broker().use(settings().rabbitmq_url.get_secret_value())
        failpoints.arm(os.environ.get("JOBS_FAILPOINTS", ""))
        act: Callable[..., object] = getattr(work, request["do"])
        act(*request["given"])
        code = 0
    except BaseException:  # noqa: BLE001  # its parent reads the exit status only
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if "wake" in request:
        pid: int = request["wake"]
        os.kill(pid, signal.SIGCONT)
    elif not (pid := os.fork()):
        _child(request)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"pid": pid, "stopped": True}
    return {"pid": pid, "ended": os.waitstatus_to_exitcode(status)}


def main() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
