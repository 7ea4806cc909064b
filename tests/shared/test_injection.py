"""What a sender writes stays data: it makes no log line, no statement and no template of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from uuid import uuid4

import psycopg
import pytest

from shared import refusals
from shared.errors import BadMessage
from shared.messages import ExpireGiftCard
from shared.wire import Envelope
from tests.kinds import Deliver, JobOf, Sql
from tests.shared.conftest import Acting

HOSTILE = 'x\n{"event": "forged", "level": "info"}\r\n\x1b[2J\x1b]0;mine\x07\u2028\u202e\x9b31m'
LOGGED = """
import logging, sys
from shared import logs
logs.configure("DEBUG")
text = sys.argv[1]
logs.get().warning(text, source=text, **{text: text})
logging.getLogger("of a library").error("%s", text)
try:
    raise ValueError(text)
except ValueError:
    logging.getLogger("of a library").exception(text)
"""


def test_every_log_line_is_one_json_object_whatever_is_in_it() -> None:
    command = [sys.executable, "-c", LOGGED, HOSTILE]

    said = subprocess.run(command, capture_output=True, check=True).stderr.decode()

    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["event"] for line in lines] == [HOSTILE] * 3
    assert not {"\x1b", "\x07", "\r", "\x9b", "\u2028", "\u202e"} & set(said)


def test_a_hostile_message_is_one_line_of_the_log_and_a_row_with_its_own_words(
    acting: Acting, deliver: Deliver, job: JobOf, capfd: pytest.CaptureFixture[str]
) -> None:
    acting(lambda *_: None)
    envelope = Envelope(ExpireGiftCard(gift_card_id=uuid4()), source=HOSTILE, dedupe_key=HOSTILE[:50])

    deliver(envelope)

    assert (job(envelope.id)["state"], job(envelope.id)["source"]) == ("succeeded", HOSTILE)
    assert "forged" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("field", ["type", "actor_name", HOSTILE])
def test_a_name_that_is_none_does_not_get_into_log_or_metrics(database: str, sql: Sql, field: str) -> None:
    body = json.dumps({field: HOSTILE, "data": {HOSTILE: HOSTILE}}).encode()

    refusals.write_down("gift-card-expiry", BadMessage("invalid", "for this test"), body)

    [row] = sql("SELECT name, data::text AS data FROM jobs")
    assert row["name"] == "?"
    assert "forged" not in row["data"]


STATEMENTS = [
    "'; DROP TABLE jobs; --",
    "x'); DELETE FROM gift_cards; SELECT ('",
    '"; DROP TABLE jobs; --',
    "$$; DROP TABLE jobs; $$",
    "\\'; DROP TABLE jobs; --",
    "%s %(x)s {x} :x ? @> || pg_sleep(9)",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_in_an_argument_of_the_sql_door_is_only_a_text(sql: Sql, text: str) -> None:
    data = json.dumps({"gift_card_id": str(uuid4()), "note": text, text: text})

    [made] = sql(
        "SELECT enqueue_job('expire_gift_card', %s::jsonb, dedupe_key => %s, source => %s) AS id", data, text, text
    )

    [row] = sql("SELECT * FROM jobs")
    assert (row["id"], row["dedupe_key"], row["source"]) == (made["id"], text, text)
    assert row["data"]["note"] == row["data"][text] == text
    assert sql("SELECT cancel_job(%s) AS answer", text) == [{"answer": "cancelled"}]
    for name, priority in ((text, "normal"), ("expire_gift_card", text)):
        with pytest.raises(psycopg.Error):
            sql("SELECT enqueue_job(%s, %s::jsonb, priority => %s)", name, data, priority)
    assert len(sql("SELECT FROM jobs")) == 1
