"""With the right authority all goes on as ever, and nothing goes unencrypted."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from deploy.local import management
from shared.aio import AsyncPublisher
from shared.enqueue import enqueue
from shared.messages import SendGiftCardEmail
from shared.publisher import Publisher
from tests.kinds import Eventually, Issue, Sql, StartProcess
from tests.outside import Outside
from tests.tls.conftest import Secured

pytestmark = pytest.mark.xdist_group("tls")


def test_gifts_go_all_the_way_encrypted(
    process: StartProcess,
    publisher: Publisher,
    rabbitmq: str,
    database: str,
    secured: Secured,
    card: Issue,
    sql: Sql,
    outside: Outside,
    eventually: Eventually,
) -> None:
    process("scheduler")
    process("delivery")
    gifts = [SendGiftCardEmail(gift_card_id=card(recipient_email=f"ada{n}@example.com")) for n in range(3)]

    publisher.send(gifts[0])
    asyncio.run(_send(rabbitmq, gifts[1]))
    with psycopg.connect(database) as transaction:
        enqueue(transaction, gifts[2])

    eventually(lambda: {mail["to"] for mail in outside.messages()} == {f"ada{n}@example.com" for n in range(3)})
    eventually(lambda: len(_connections(secured)) > 5)  # as the management API has heard
    assert all(connection["ssl"] for connection in _connections(secured))
    assert _unencrypted(sql) == []


async def _send(url: str, gift: SendGiftCardEmail) -> None:
    async with AsyncPublisher(url) as publisher:
        await publisher.send(gift)


def _connections(secured: Secured) -> list[dict[str, Any]]:
    known = management.call(secured.api, "GET", "vhosts/test/connections")
    return [connection for connection in known if "ssl" in connection]


def _unencrypted(sql: Sql) -> list[dict[str, Any]]:
    return sql(
        "SELECT application_name FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
        " WHERE datname = current_database() AND NOT ssl"
    )
