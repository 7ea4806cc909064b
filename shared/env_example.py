"""Print ``.env.example``: every setting with what it means and its default. ``python -m shared.env_example``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from shared.options import BACKOFF_S, TIMETABLE, CronLine, QueueSettings
from shared.settings import PREFIX, Settings

_INTRO = """\
# Every setting, made by `python -m shared.env_example`. The commented ones show their defaults.
# Any of them may be given as a file instead: JOBS_DATABASE_URL_FILE=/run/secrets/database_url.
"""


def text() -> str:
    """Give the file's text."""
    return _INTRO + "".join(f"\n{paragraph}" for paragraph in _paragraphs())


def _paragraphs() -> Iterator[str]:
    nested: Mapping[str, tuple[str, type[BaseModel]]] = {
        "queues": ("EMAIL_DELIVERY", QueueSettings),
        "timetable": ("PRUNE_HISTORY", CronLine),
    }
    for name, field in Settings.model_fields.items():
        if name in nested:
            one, model = nested[name]
            values = {**{n: f.get_default() for n, f in model.model_fields.items()}, **TIMETABLE.get(one.lower(), {})}
            lines = [
                f"# {f.description}\n#{_line(f'{name}__{one}__{n}', values[n])}" for n, f in model.model_fields.items()
            ]
            yield f"# {field.description} One at a time, such as:\n" + "".join(lines)
        else:
            value = BACKOFF_S if name == "backoff_s" else field.get_default()
            required = value is PydanticUndefined
            yield (
                f"# {field.description}\n"
                + ("" if required else "#")
                + _line(name, field.description if required else value)
            )


def _line(name: str, value: Any) -> str:
    value = to_jsonable_python(value)
    shown = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return f"{PREFIX}{name.upper()}={shown}\n"


if __name__ == "__main__":
    print(text(), end="")
