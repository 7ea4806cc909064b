"""Keys of the card codes are exchanged while mails go out, and may be torn from it at any time."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys

import psycopg
import pytest
from cryptography.fernet import Fernet, InvalidToken

import services.delivery.actors  # noqa: F401  # registers the actors
from deploy.local import state
from services.delivery import rotation
from shared.messages import SendGiftCardEmail, SendGiftCardSms
from shared.wire import Envelope
from tests.conftest import CODE, CODE_KEY
from tests.delivery.hooks import sent
from tests.kinds import Deliver, Issue, JobOf, Setting, Sql
from tests.outside import Outside

NEW = "m2Jv3xvJ0sQzv1m4v0zqVY8aD0uT1n2bq7l0aXcE3vE="
BOTH = json.dumps([NEW, CODE_KEY])


def readable(sql: Sql, key: str) -> int:
    """Count the codes that this key alone opens."""
    found = 0
    for row in sql("SELECT code_encrypted FROM gift_cards"):
        try:
            found += Fernet(key).decrypt(row["code_encrypted"]) == CODE.encode()
        except InvalidToken:
            continue
    return found


def test_mails_go_out_before_during_and_after_the_exchange(
    card: Issue, sql: Sql, setting: Setting, deliver: Deliver, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = [card(recipient_email=f"ada{n}@example.com") for n in range(4)]

    deliver(SendGiftCardEmail(gift_card_id=cards[0]))
    setting(code_keys=BOTH, slice_rows=2)
    deliver(SendGiftCardEmail(gift_card_id=cards[1]))
    assert rotation.main([]) == 0
    deliver(SendGiftCardEmail(gift_card_id=cards[2]))
    setting(code_keys=json.dumps([NEW]))
    deliver(SendGiftCardEmail(gift_card_id=cards[3]))

    assert [CODE in mail["raw"] for mail in outside.messages()] == [True] * 4
    assert (readable(sql, NEW), readable(sql, CODE_KEY)) == (4, 0)
    said = " ".join(capsys.readouterr().out.split())
    assert "with the newest key: 4, of which 4 were changed now No older key is needed." in said


def test_a_dry_run_counts_and_changes_nothing(
    card: Issue, sql: Sql, setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    setting(code_keys=BOTH, slice_rows=2)
    for _ in range(3):
        card()
    card(code_encrypted=Fernet(NEW).encrypt(CODE.encode()).decode())

    assert rotation.main(["--dry-run"]) == 1

    said = " ".join(capsys.readouterr().out.split())
    assert "with the newest key: 1, of which 0 were changed now" in said
    assert "with an older key: 3; keep all 2 keys, and run this without --dry-run" in said
    assert (readable(sql, NEW), readable(sql, CODE_KEY)) == (1, 3)


def test_a_card_that_somebody_holds_is_passed_over_and_done_later(
    card: Issue, sql: Sql, setting: Setting, database: str
) -> None:
    setting(code_keys=BOTH)
    held = card()
    card()

    with psycopg.connect(database) as other:
        other.execute("SELECT FROM gift_cards WHERE id = %s FOR SHARE", (held,))
        tally = rotation.rotate()

    assert (tally.newest, tally.older) == (1, 1)
    assert rotation.rotate().older == 0
    assert readable(sql, NEW) == 2


def test_a_code_that_changes_meanwhile_is_not_written_over(card: Issue, sql: Sql, setting: Setting) -> None:
    setting(code_keys=BOTH)
    card_id = card()
    newer = Fernet(CODE_KEY).encrypt(b"ANOTHER-CODE").decode()
    was = {card_id: sql("SELECT code_encrypted FROM gift_cards")[0]["code_encrypted"]}

    sql("UPDATE gift_cards SET code_encrypted = %s", newer)
    changed = rotation._change(was, {card_id: "of the code before"})

    assert changed == 0
    assert sql("SELECT code_encrypted FROM gift_cards")[0]["code_encrypted"] == newer


def test_killed_after_every_slice_it_comes_to_its_end(card: Issue, sql: Sql, setting: Setting) -> None:
    for _ in range(7):
        card()
    setting(code_keys=BOTH, slice_rows=2, failpoints="slice=kill")
    command = [sys.executable, "-m", "services.delivery.rotation"]

    done = []
    for _ in range(5):
        code = subprocess.run(command, env=os.environ, capture_output=True, check=False).returncode
        done.append((code, readable(sql, NEW)))

    killed = -signal.SIGKILL
    assert done == [(killed, 2), (killed, 4), (killed, 6), (killed, 7), (0, 7)]


def test_a_code_that_no_key_opens_is_named_by_its_card(
    card: Issue, setting: Setting, sql: Sql, capsys: pytest.CaptureFixture[str]
) -> None:
    setting(code_keys=BOTH)
    card_id = card(code_encrypted=Fernet(Fernet.generate_key()).encrypt(CODE.encode()).decode())
    card()

    assert rotation.main([]) == 1

    said = " ".join(capsys.readouterr().out.split())
    assert f"with none of the keys: 1; add theirs at the end (cards {card_id} …)" in said
    assert "No older key is needed" not in said
    assert CODE not in said
    assert readable(sql, NEW) == 1


def test_without_a_key_it_says_which_setting_is_missing(card: Issue, setting: Setting) -> None:
    setting(code_keys="[]")
    card()

    with pytest.raises(SystemExit, match="error: no key for card codes: set JOBS_CODE_KEYS"):
        rotation.main([])


def test_a_gift_whose_code_no_key_opens_is_tried_again_and_says_which_setting(
    card: Issue, setting: Setting, deliver: Deliver, job: JobOf, outside: Outside
) -> None:
    setting(code_keys=json.dumps([NEW]))
    gifts = [Envelope(message(gift_card_id=card())) for message in (SendGiftCardEmail, SendGiftCardSms)]

    deliver(*gifts)

    for gift in gifts:
        row = job(gift.id)
        assert (row["state"], row["reason"]) == ("scheduled", "code_key")
        assert "add its key at the end of JOBS_CODE_KEYS" in row["error"]
    assert outside.messages() == []


def test_a_reminder_shows_no_code_and_opens_none(card: Issue, sql: Sql, deliver: Deliver, outside: Outside) -> None:
    card_id = card(code_encrypted="no key opens this")
    delivery_id = sent(sql, card_id, kind="reminder", state="queued", attempts="[]", template_id="expiry_reminder")

    deliver(SendGiftCardEmail(gift_card_id=card_id, template_id="expiry_reminder", delivery_id=delivery_id))

    assert [CODE[-4:] in mail["raw"] for mail in outside.messages()] == [True]


def test_codes_are_opened_where_messages_are_written_and_twilio_is_asked_and_nowhere_else() -> None:
    places = set()
    for file in [*state.ROOT.glob("services/**/*.py"), *state.ROOT.glob("shared/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
                if any(isinstance(c, ast.Attribute) and c.attr == "decrypt" for c in calls):
                    places.add(f"{file.relative_to(state.ROOT)}: {node.name}")

    assert places == {
        "services/delivery/codes.py: decrypt",
        "services/delivery/channels.py: _code",
        "services/delivery/channels.py: _ask_twilio",
    }
