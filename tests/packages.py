"""Programs that tests use beside Python: of the system, else of Debian's packages where root may install them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deploy.local import debian, state
from deploy.local.errors import StackError
from tests import servers

T = TypeVar("T")


def need(find: Callable[[], T | None], *packages: str) -> T:
    """Give what is found, after an install if need be. Without it the test is skipped on a laptop and fails in CI."""
    why = f"install {', '.join(packages)}"
    try:
        with state.alone(state.LOCAL / "packages"):
            for package in () if find() or not debian.is_root() else packages:
                debian.install(package)
    except StackError as error:
        why = str(error)
    return find() or servers.give_up(why)
