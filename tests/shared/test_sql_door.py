"""What the SQL door refuses is what the models' JSON Schemas refuse: every message, every field, many values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from psycopg.errors import DataError, InvalidParameterValue
from pydantic import ValidationError

from shared.contracts import examples
from shared.contracts.schemas import schema
from shared.messages import MESSAGES
from shared.wire import _CloudEvent

# The words and formats of JSON Schema that json_misfit() knows, and those that ask for nothing.
KNOWN = {"type", "format", "anyOf", "enum", "minimum", "maximum", "maxLength", "pattern"}
SAYING = {"default", "description", "title"}
FORMATS = {"uuid", "date-time"}
VALUES: list[Any] = [
    *(None, True, 0, 1, 2, 7, -1, 1.5, 366, 10**6, [], ["email"], {}, {"a": 1}),
    *(
        "",
        "x",
        "42",
        "email",
        "both",
        "post",
        "gift_card",
        "Gift Card!",
        "support-7",
        "typing error",
        "a" * 65,
        "a" * 321,
    ),
    *("ada@example.com", "+14155550123", "sha256:" + "0" * 64, "Europe/Berlin", "now", "infinity", "25 Dec 2030"),
    *("7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08", "7D9F8A52-6C1E-4B7A-8F3D-2E5C4A1B9D08", "7d9f8a52-6c1e"),
    *("2030-12-25T09:00:00+01:00", "2030-12-25T09:00Z", "2030-12-25T09:00:00", "2030-13-25T09:00:00Z", "2030-12-25T09"),
]
# Beyond its schema a worker asks for more than SQL does: an address, a wall-clock time.
LOOSER = {"recipient_email", "recipient_phone", "deliver_local"}


@pytest.fixture
def refuses(database: str) -> Iterator[Any]:
    """Ask for a job and take it back: gives why it was refused, or None."""
    with psycopg.connect(database) as connection:

        def refused(name: str, data: object, **arguments: object) -> str | None:
            given = {"name": name, "data": json.dumps(data)} | arguments
            call = ", ".join(f"{argument} => %({argument})s" for argument in given)
            try:
                connection.execute(f"SELECT enqueue_job({call})".encode(), given)
            except DataError as error:
                return str(error.diag.message_primary)
            finally:
                connection.rollback()
            return None

        yield refused


def needed(name: str) -> dict[str, Any]:
    fields = MESSAGES[name].model_fields.items()
    return {field: examples.VALUES[field] for field, about in fields if about.is_required()}


def fits_the_schema(name: str, field: str, value: object) -> bool:
    rule = schema(MESSAGES[name])["properties"][field]
    return bool(Draft202012Validator(rule, format_checker=FormatChecker(["uuid"])).is_valid(value))


def is_taken_by_a_worker(name: str, field: str, value: object) -> bool:
    try:
        MESSAGES[name].model_validate(needed(name) | {field: value})
    except ValidationError as error:
        return all(problem["loc"][:1] != (field,) for problem in error.errors())
    return True


@pytest.mark.parametrize("name", [name for name in MESSAGES if MESSAGES[name].model_fields])
def test_a_field_that_does_not_fit_is_refused_at_once_and_what_fits_is_taken(name: str, refuses: Any) -> None:
    for field in MESSAGES[name].model_fields:
        for value in VALUES:
            fits, taken = fits_the_schema(name, field, value), is_taken_by_a_worker(name, field, value)
            why = refuses(name, needed(name) | {field: value})
            if fits and taken:
                assert why is None, (field, value)
            elif not fits or field not in LOOSER:
                assert why, (field, value)
                assert f"{field} of {name} must be " in why, (field, value)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_field_that_is_missing_is_named(name: str, refuses: Any) -> None:
    for field in needed(name):
        others = {other: value for other, value in needed(name).items() if other != field}
        assert refuses(name, others) == f"{name} needs the field {field}"


def test_the_schemas_use_no_word_that_the_database_does_not_know() -> None:
    rules = [rule for message in MESSAGES.values() for rule in schema(message)["properties"].values()]
    rules += [branch for rule in rules for branch in rule.get("anyOf", [])]

    assert {word for rule in rules for word in rule} <= KNOWN | SAYING, "teach json_misfit() in a migration"
    assert {rule["format"] for rule in rules if "format" in rule} <= FORMATS, "teach json_misfit() in a migration"


def test_the_database_has_the_schemas_of_the_models(database: str) -> None:
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT name, schema -> 'properties' FROM message_types").fetchall()
    kept: dict[str, Any] = dict(rows)

    assert kept.keys() == MESSAGES.keys()
    for name, message in MESSAGES.items():
        assert kept[name] == message.model_json_schema(by_alias=False)["properties"]


@pytest.mark.parametrize(
    ("argument", "attribute", "value"),
    [
        *[("dedupe_key", "dedupekey", value) for value in ("", "k", "k" * 200, "k" * 201)],
        *[("source", "source", value) for value in ("", "orders", "o" * 201)],
        *[("traceparent", "traceparent", value) for value in ("", f"00-{'a' * 32}-{'b' * 16}-01", "00-a-b-01")],
        *[("priority", "priority", value) for value in ("urgent", "bulk", "soon")],
    ],
)
def test_what_travels_with_a_message_is_held_to_the_same_rules_by_both_doors(
    refuses: Any, argument: str, attribute: str, value: str
) -> None:
    document = {"specversion": "1.0", "id": "1", "source": "orders", "type": "prune_history"} | {attribute: value}
    try:
        _CloudEvent.model_validate(document)
        taken = True
    except ValidationError:
        taken = False

    assert (refuses("prune_history", {}, **{argument: value}) is None) is taken


@pytest.mark.parametrize("function", ["cancel_job(NULL)", "reschedule_job(NULL, clock_timestamp())"])
def test_nothing_is_no_job(database: str, function: str) -> None:
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.NoDataFound, match="id or key NULL"):
        connection.execute(f"SELECT {function}".encode())


@pytest.mark.parametrize("when", ["NULL", "'infinity'", "'-infinity'", "'1999-12-31'", "'2201-01-01'"])
def test_a_job_is_moved_to_a_time_that_somebody_can_mean(database: str, when: str) -> None:
    with psycopg.connect(database) as connection:
        [job] = connection.execute("SELECT enqueue_job('prune_history')::text").fetchone() or []
        with pytest.raises(InvalidParameterValue, match="needs a time within the years 2000 to 2200"):
            connection.execute(f"SELECT reschedule_job(%s, {when})".encode(), (job,))
