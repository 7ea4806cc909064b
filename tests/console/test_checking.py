"""The invariants on the command line: what holds, what does not and the way out, and an exit status for scripts."""

from __future__ import annotations

import json

import pytest

from shared.invariants import INVARIANTS
from tests.console.conftest import Cli, Read
from tests.kinds import Issue, Setting, Sql


def test_all_is_well(card: Issue, cli: Cli, read: Read) -> None:
    card()

    shown = read("invariants")

    assert [(row["invariant"], row["violations"]) for row in shown] == [(one.id, 0) for one in INVARIANTS]
    assert "a card's balance is the sum of its ledger" in cli("invariants").output


def test_what_is_wrong_is_counted_with_its_way_out_and_a_status(card: Issue, cli: Cli, sql: Sql) -> None:
    card_id = card()
    sql("UPDATE gift_cards SET balance = 99 WHERE id = %s", card_id)

    result, machine = cli("invariants"), cli("invariants", "--json")

    assert (result.exit_code, machine.exit_code) == (1, 1)
    assert "I1: 'console story CARD' shows its ledger" in result.output
    assert json.loads(machine.stdout)[0]["violations"] == 1


def test_a_replica_is_asked_where_one_is_named(card: Issue, cli: Cli, database: str, setting: Setting) -> None:
    card()
    setting(database_url="postgresql://nobody@127.0.0.1:1/nothing")

    assert cli("invariants").exit_code == 1
    assert cli("invariants", "--database-url", database).exit_code == 0
    setting(check_database_url=database)
    assert cli("invariants").exit_code == 0


def test_what_takes_too_long_is_unknown_and_that_is_not_well(
    card: Issue, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = INVARIANTS[0].__class__("I1", "", "", "SELECT count(pg_sleep(30))")
    monkeypatch.setattr("services.console.checking.INVARIANTS", (slow, *INVARIANTS[1:]))

    result = cli("invariants", "--limit-s", "0.5")

    assert result.exit_code == 1
    assert "I1: not counted within 0.5 s: raise --limit-s" in result.output
