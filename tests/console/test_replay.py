"""Facts told again: to one queue, in their order, with the ids and numbers that they had."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pika
import pytest

from services.console import replaying
from services.scheduler import outbox
from shared.events import EXCHANGE
from shared.publisher import Publisher
from tests import servers
from tests.console.conftest import Cli
from tests.kinds import Setting, Sql

WHY = ("--reason", "the reader lost its queue", "--yes")
SINCE = ("--since", "2026-01-01T00:00Z")
Facts = list[dict[str, Any]]


@pytest.fixture
def reader(rabbitmq: str) -> Iterator[Callable[[str], Facts]]:
    """Give a function that takes all that is in a queue; ``live`` hears everything, ``again`` nothing by itself."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        for queue in ("live", "again"):
            channel.queue_declare(queue)
        channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
        channel.queue_bind("live", EXCHANGE, "#")

        def take(queue: str) -> Facts:
            facts = []
            while (body := channel.basic_get(queue, auto_ack=True)[2]) is not None:
                facts.append(json.loads(body))
            return facts

        yield take


@pytest.fixture
def told(database: str, publisher: Publisher, sql: Sql) -> Callable[..., None]:
    """Tell facts about cards, in batches of two, as long ago as is said."""

    def tell(*cards: UUID, ago: str = "1 hour") -> None:
        for n, card in enumerate(cards):
            sql("INSERT INTO events (type, subject, data) VALUES ('delivery.sent', %s, %s)", card, json.dumps({"n": n}))
            if n % 2:
                outbox.tell(publisher)
        outbox.tell(publisher)
        sql(
            "UPDATE events SET published_at = published_at - %s::interval"
            " WHERE published_at > now() - interval '1 minute'",
            ago,
        )

    return tell


@pytest.fixture(autouse=True)
def as_the_consoles_user(rabbitmq: str, setting: Setting, publisher: Publisher) -> None:
    setting(rabbitmq_url=servers.as_broker_user(rabbitmq, "console"))


def test_they_come_to_one_queue_as_they_were(
    cli: Cli, told: Callable[..., None], reader: Callable[[str], Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "PAGE", 2)
    ada, bob = uuid4(), uuid4()
    told(ada, bob, ada, bob, ada)
    first = reader("live")

    result = cli("replay", *SINCE, "--queue", "again", *WHY)

    assert result.exit_code == 0, result.output
    assert "5 facts are in again again" in result.output
    assert reader("again") == first
    assert [fact["subjectsequence"] for fact in first if fact["subject"] == str(ada)] == [1, 2, 3]
    assert reader("live") == [], "nobody else hears of it"


def test_only_what_was_told_in_that_time_comes(
    cli: Cli, told: Callable[..., None], reader: Callable[[str], Facts], sql: Sql
) -> None:
    for ago in ("5 days", "3 days", "1 day"):
        told(uuid4(), ago=ago)
    sql("INSERT INTO events (type, subject) VALUES ('gift_card.expiry_held', %s)", uuid4())  # not told yet
    [time] = sql("SELECT (now() - interval '4 days')::text AS since, (now() - interval '2 days')::text AS until")

    result = cli("replay", "--since", time["since"], "--until", time["until"], "--queue", "again", *WHY)

    assert "1 facts are in again again" in result.output
    assert [fact["subjectsequence"] for fact in reader("again")] == [1]


def test_a_dry_run_counts_and_tells_nothing(cli: Cli, told: Callable[..., None], reader: Any, sql: Sql) -> None:
    told(uuid4(), uuid4(), uuid4())

    result = cli("replay", *SINCE, "--queue", "again", "--dry-run", *WHY)

    assert "3 facts were told from 2026-01-01 00:00:00 to " in result.output
    assert reader("again") == []
    assert sql("SELECT FROM audit") == []


def test_who_did_it_and_why_is_kept(cli: Cli, told: Callable[..., None], reader: Any, sql: Sql) -> None:
    told(uuid4())

    cli("replay", *SINCE, "--queue", "again", *WHY, "--as", "ops-1")

    [kept] = sql("SELECT who, action, subject, reason, details FROM audit")
    assert (kept["who"], kept["action"], kept["subject"]) == ("ops-1", "events.replayed", "again")
    assert kept["reason"] == "the reader lost its queue"
    assert (kept["details"]["facts"], kept["details"]["since"]) == (1, "2026-01-01T00:00:00+00:00")


def test_nothing_is_told_before_the_operator_agrees(cli: Cli, told: Callable[..., None], reader: Any) -> None:
    told(uuid4())

    result = cli("replay", *SINCE, "--queue", "again", "--reason", "new reader", answer="n\n")

    assert result.exit_code == 1
    assert reader("again") == []


def test_facts_that_are_no_longer_kept_are_spoken_of(cli: Cli, told: Callable[..., None], reader: Any) -> None:
    told(uuid4())

    assert "more than 30 days ago is no longer kept" in cli("replay", *SINCE, "--queue", "again", *WHY).output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--queue", "nobody", *SINCE), "0 of 1 facts are in nobody, then: there is no such queue: its reader"),
        (("--queue", "email-delivery", *SINCE), "email-delivery is a queue of ours"),
        (("--queue", "maintenance.urgent", *SINCE), "maintenance.urgent is a queue of ours"),
        (("--queue", "again", "--since", "2199-01-01T00:00Z"), "lies ahead"),
        (("--queue", "again", "--since", "yesterday"), "'yesterday' is no time"),
        (("--queue", "again", "--since", "2026-01-01T00:00", "--zone", "Mars/Base"), "Mars/Base"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    cli: Cli, told: Callable[..., None], reader: Any, words: tuple[str, ...], says: str
) -> None:
    told(uuid4())

    result = cli("replay", *words, *WHY)

    assert result.exit_code == 1
    assert says in result.output


def test_a_broker_that_is_away_leaves_the_facts_where_they_are(
    cli: Cli, told: Callable[..., None], setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(uuid4())
    setting(rabbitmq_url="amqp://guest:guest@127.0.0.1:1/")
    monkeypatch.setattr(replaying, "Publisher", lambda url: Publisher(url, timeout_s=0.3))

    result = cli("replay", *SINCE, "--queue", "again", *WHY)

    assert result.exit_code == 1
    assert "the broker is away, blocked or slow. Asking again is safe" in result.output
