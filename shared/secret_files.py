"""Settings from variables, or from the files that ``JOBS_X_FILE`` names, as Docker and Kubernetes mount secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic_settings import EnvSettingsSource

SUFFIX = "_FILE"


class SettingsError(SystemExit):
    """End the process with what is wrong in its settings and how to mend it."""


class VariablesOrFiles(EnvSettingsSource):
    """Read each setting from its variable or its file. What a file holds never becomes a variable of this process."""

    def _load_env_vars(self) -> dict[str, Any]:
        given = super()._load_env_vars()
        ending = SUFFIX.lower()
        files = [name for name in os.environ if name.startswith(self.env_prefix) and name.endswith(SUFFIX)]
        read = {name.removesuffix(SUFFIX).lower(): _read(name) for name in files}
        return {name: value for name, value in given.items() if not name.endswith(ending)} | read


def _read(variable: str) -> str:
    """Give what is in a file, without the space around it. Its path is not repeated: it may be a secret by mistake."""
    meant = variable.removesuffix(SUFFIX)
    if meant in os.environ:
        raise SettingsError(f"{meant} and {variable} are both set: unset one of them")
    try:
        text = Path(os.environ[variable]).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingsError(
            f"cannot read the file that {variable} names: {why}; name a file that this user may read"
        ) from None
    if not text:
        raise SettingsError(f"the file that {variable} names is empty: put the value of {meant} into it, or unset it")
    return text
