"""The API as it describes itself: complete, and without an answer that says that something broke."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from services.console.app import routes
from services.console.web.access import API
from tests.console.conftest import Sent
from tests.console.web.conftest import Browser
from tests.kinds import Issue

EXAMPLES = 1000


def test_every_path_of_the_api_is_described(app: FastAPI, browser: Browser) -> None:
    described = browser("vera").get(f"{API}/openapi.json").json()["paths"]
    there = {route.path_format for route in routes(app) if route.path_format.startswith(API)}

    assert there - described.keys() == {f"{API}/openapi.json"}
    assert all(one["description"] for path in described.values() for one in path.values())


@pytest.mark.timeout(300)
def test_nothing_that_fits_the_description_breaks_it(app: FastAPI, browser: Browser, card: Issue, sent: Sent) -> None:
    sent(card(), reason="held")
    client = browser("ada")
    schema = schemathesis.openapi.from_dict(client.get(f"{API}/openapi.json").json())
    operations: list[Any] = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    cases = st.one_of([operation.as_strategy() for operation in operations])
    seen: set[str] = set()

    @settings(
        max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None,
    )  # fmt: skip
    @given(cases)
    def ask(case: Any) -> None:
        answer = client.request(
            case.method,
            case.formatted_path,
            params=case.query or None,
            json=case.body if isinstance(case.body, dict | list | str | int | float | bool | None) else None,
        )
        seen.add(f"{case.method} {case.path}")
        assert answer.status_code < 500, f"{case.method} {case.formatted_path} {case.query} {case.body}: {answer.text}"

    ask()
    assert seen == {f"{operation.method.upper()} {operation.path}" for operation in operations}
