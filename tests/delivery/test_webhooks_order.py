"""Reports come twice, in any order, and before the delivery knows their name: the end is the same."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as strategy_settings
from hypothesis import strategies as st

from services.delivery.reports import apply_orphans, inbox
from services.delivery.reports.report import Kind, Report
from shared import db
from shared.messages import hint
from tests.delivery.hooks import ADDRESS, Hooks, sent, standing, suppressed
from tests.kinds import Issue, Sql

WHOLE_LIFE = [
    ("1", Kind.ACCEPTED, None),
    ("2", Kind.DEFERRED, "4.2.0"),
    ("3", Kind.DELIVERED, None),
    ("4", Kind.FAILED, "5.6.0"),
    ("5", Kind.FAILED, "5.7.1"),
    ("6", Kind.SOFT_BOUNCE, "5.2.2"),
    ("7", Kind.HARD_BOUNCE, "5.1.1"),
    ("8", Kind.HARD_BOUNCE, "5.1.2"),
    ("9", Kind.COMPLAINT, None),
    ("10", Kind.UNSUBSCRIBE, None),
    ("11", Kind.NOTHING, None),
]
COLUMNS = "state, reason, provider_id, error_class, error_code, settled_by"


@st.composite
def two_orders(draw: st.DrawFn) -> tuple[Sequence[Any], Sequence[Any]]:
    """Draw some reports, and two orders of them with repetitions."""
    told = draw(st.lists(st.sampled_from(WHOLE_LIFE), min_size=1, max_size=6, unique=True))

    def order() -> Sequence[Any]:
        again = draw(st.lists(st.sampled_from(told), max_size=4))
        return draw(st.permutations(told + again))

    return order(), order()


@strategy_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=two_orders(), before=st.sampled_from(["sent", "sending", "unconfirmed", "queued"]))
def test_any_order_with_any_repetition_ends_alike(
    card: Issue, sql: Sql, orders: tuple[Sequence[Any], Sequence[Any]], before: str
) -> None:
    ends = [_end(card, sql, order, before) for order in orders]

    assert ends[0] == ends[1]


def _end(card: Issue, sql: Sql, order: Sequence[Any], before: str) -> list[Any]:
    address, mark = f"{uuid4().hex}@example.com", uuid4().hex
    card_id = card(recipient_email=address, recipient_phone=None, purchaser_email="bob@example.com")
    delivery_id = sent(sql, card_id, state=before, address_hash=hint(address))
    for name, kind, code in order:
        inbox.take(
            Report("ses", name + mark, kind, delivery_id, "m" + mark, hint(address), code, scopes=("reminders",))
        )
    (row,) = sql(f"SELECT {COLUMNS} FROM deliveries WHERE id = %s", delivery_id)
    stops = sql("SELECT scope, reason FROM suppressions WHERE address_hash = %s ORDER BY 1", hint(address))
    notices = sql("SELECT count(*) FROM deliveries WHERE gift_card_id = %s AND kind = 'notice'", card_id)
    return [row | {"provider_id": row["provider_id"] and "m"}, stops, notices]


@pytest.mark.parametrize(
    ("first", "then", "state"),
    [
        (Kind.DELIVERED, Kind.ACCEPTED, ("delivered", None)),
        (Kind.DELIVERED, Kind.HARD_BOUNCE, ("bounced", "hard_bounce")),
        (Kind.HARD_BOUNCE, Kind.DELIVERED, ("bounced", "hard_bounce")),
        (Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE, ("bounced", "hard_bounce")),
        (Kind.COMPLAINT, Kind.ACCEPTED, ("delivered", None)),
    ],
)
def test_the_gravest_report_counts(
    card: Issue, sql: Sql, first: Kind, then: Kind, state: tuple[str, str | None]
) -> None:
    delivery_id = sent(sql, card(recipient_phone=None))

    for n, kind in enumerate((first, then)):
        inbox.take(Report("ses", str(n), kind, delivery_id))

    assert standing(sql, delivery_id) == state


def test_late_news_of_a_known_attempt_does_not_stop_a_resend(database: str, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(), "sms", "queued", provider_id="SM1")

    inbox.take(Report("twilio", "SM1:sent", Kind.ACCEPTED, delivery_id, "SM1"))

    assert standing(sql, delivery_id) == ("queued", None)


def orphan(sql: Sql, kind: Kind = Kind.HARD_BOUNCE, **fields: Any) -> str:
    return inbox.take(Report("ses", "e1", kind, provider_id="later", **fields))


def test_a_report_that_comes_before_its_delivery_is_known_waits_for_it(database: str, card: Issue, sql: Sql) -> None:
    outcome = orphan(sql, Kind.DELIVERED)
    delivery_id = sent(sql, card())

    with db.transaction() as connection:
        connection.execute("UPDATE deliveries SET provider_id = 'later' WHERE id = %s", (delivery_id,))
        applied = apply_orphans(connection, "email", "later")

    assert (outcome, applied) == ("orphan", 1)
    assert standing(sql, delivery_id) == ("delivered", None)
    assert sql("SELECT FROM provider_events WHERE applied_at IS NULL") == []


def test_an_sms_is_not_found_by_the_id_of_a_mail(database: str, card: Issue, sql: Sql) -> None:
    orphan(sql)
    delivery_id = sent(sql, card(), "sms", provider_id="later")

    with db.transaction() as connection:
        assert apply_orphans(connection, "sms", "later") == 0
    assert inbox.sweep() == 0
    assert standing(sql, delivery_id) == ("sent", None)


def test_the_sweep_finds_what_was_missed_and_stops_nobody_twice(database: str, card: Issue, sql: Sql) -> None:
    orphan(sql, address=hint(ADDRESS))
    sql("UPDATE suppressions SET lifted_at = now()")
    delivery_id = sent(sql, card(), provider_id="later", address_hash=hint(ADDRESS))

    swept = inbox.sweep(), inbox.sweep()

    assert swept == (1, 0)
    assert standing(sql, delivery_id) == ("bounced", "hard_bounce")
    assert suppressed(sql) == []


def test_an_orphan_is_given_up_after_a_week(database: str, card: Issue, sql: Sql) -> None:
    orphan(sql)
    sql("UPDATE provider_events SET received_at = now() - interval '8 days'")

    inbox.sweep()
    delivery_id = sent(sql, card(), provider_id="later")

    assert inbox.sweep() == 0
    assert standing(sql, delivery_id) == ("sent", None)


def test_a_report_about_a_delivery_that_is_not_there_waits(database: str, sql: Sql) -> None:
    assert inbox.take(Report("twilio", "SM1:sent", Kind.ACCEPTED, delivery_id=UUID(int=1))) == "orphan"


def test_two_posts_at_once_are_one(hooks: Hooks, card: Issue, sql: Sql) -> None:
    delivery_id = sent(sql, card(), "sms", provider_id="SM1")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: hooks.status(delivery_id, "delivered").status_code, range(8)))

    assert set(answers) == {200}
    assert len(sql("SELECT FROM events")) == 1


def test_a_report_that_overtakes_the_workers_own_answer_waits_for_it(database: str, card: Issue, sql: Sql) -> None:
    job_id = uuid4()
    sql(
        "INSERT INTO jobs (id, name, queue, state, lease_until) VALUES (%s, 'x', 'x', 'running', now() + '1 min')",
        job_id,
    )
    delivery_id = sent(sql, card(), "sms", "sending", job_id=job_id)

    taken = inbox.take(Report("twilio", "SM1:delivered", Kind.DELIVERED, delivery_id, "SM1")), inbox.sweep()
    in_flight = standing(sql, delivery_id)[0]
    with db.transaction() as connection:
        connection.execute("UPDATE deliveries SET state = 'sent', provider_id = 'SM1' WHERE id = %s", (delivery_id,))
        apply_orphans(connection, "sms", "SM1")

    assert (taken, in_flight) == (("orphan", 0), "sending")
    assert standing(sql, delivery_id)[0] == "delivered"


def test_a_report_on_a_worker_that_died_in_flight_settles_it_when_its_lease_is_over(
    database: str, card: Issue, sql: Sql
) -> None:
    job_id = uuid4()
    sql(
        "INSERT INTO jobs (id, name, queue, state, lease_until) VALUES (%s, 'x', 'x', 'running', now() + '1 min')",
        job_id,
    )
    delivery_id = sent(sql, card(), "sms", "sending", job_id=job_id)
    inbox.take(Report("twilio", "SM1:sent", Kind.ACCEPTED, delivery_id, "SM1"))

    sql("UPDATE jobs SET lease_until = now() - interval '1 second'")

    assert inbox.sweep() == 1
    (row,) = sql("SELECT state, settled_by FROM deliveries")
    assert tuple(row.values()) == ("sent", "callback")
