"""The dashboards: what somebody looks at who was woken, and what somebody looks at on a Monday."""

from __future__ import annotations

from deploy.monitoring.board import Board, Panel
from deploy.monitoring.promql import NOW, or_none, quantile, rate

_QUEUE = 'queue=~"$queue"'
_CALLS, _ACCEPTED = "delivery_attempts_total", 'result="accepted"'
WAITS_FOR_SOMEBODY = {
    "held deliveries": or_none('sum(max by (channel) (deliveries_open{reason="held"}))'),
    "open breakers": or_none("count(max by (provider) (breakers_open))"),
    "brakes": or_none("count(max by (name) (brakes_pulled))"),
    "broken invariants": or_none("sum(max by (invariant) (invariant_violations))"),
}

OVERVIEW = Board(
    "giftcards-overview",
    "Gift cards: overview",
    (
        Panel(
            "Started within a minute of being due",
            {"now": "1 - giftcards:late:ratio_rate5m"},
            "percentunit",
            True,
            "JobsLateFast",
        ),
        Panel("Did not fail", {"now": "1 - giftcards:failed:ratio_rate5m"}, "percentunit", True, "JobsFailingFast"),
        Panel("Waits for somebody", WAITS_FOR_SOMEBODY, stat=True, alert="OutcomeUnknown"),
        Panel(
            "Error budget burnt, times what it allows",
            {"late": "giftcards:late:ratio_rate1h / 0.001", "failed": "giftcards:failed:ratio_rate1h / 0.001"},
            alert="JobsLateSteadily",
            says="14.4 pages at once, 6 within the hour, 1 makes a ticket.",
        ),
        Panel("Jobs a second by outcome", {"{{outcome}}": rate("jobs_total", "outcome")}, "reqps"),
        Panel("Oldest due", {"{{queue}}": "max by (queue) (queue_oldest_due_seconds)"}, "s", alert="JobWaitsTooLong"),
        Panel("Alerts", {"{{alertname}}": or_none('count by (alertname) (ALERTS{alertstate="firing"})')}),
        Panel("Processes that answer", {"{{job}}": "count by (job) (up == 1)"}, alert="ServiceDown"),
    ),
)

QUEUES = Board(
    "giftcards-queues",
    "Gift cards: queues and workers",
    (
        Panel(
            "Jobs by state",
            {"{{queue}} {{state}}": f'max by (queue, state) (queue_jobs{{{_QUEUE},state=~"waiting|active|delayed"}})'},
        ),
        Panel("Jobs a second", {"{{queue}}": rate("jobs_total", "queue", _QUEUE)}, "reqps"),
        Panel("Running now", {"{{queue}}": f"sum by (queue) (jobs_running{{{_QUEUE}}})"}),
        Panel(
            "How long they take",
            {
                "{{queue}} half": quantile(0.5, "job_duration_seconds", "queue", _QUEUE),
                "{{queue}} 99 %": quantile(0.99, "job_duration_seconds", "queue", _QUEUE),
            },
            "s",
        ),
        Panel(
            "From due to started, 99 %",
            {"{{queue}}": quantile(0.99, "job_start_lateness_seconds", "queue", _QUEUE)},
            "s",
            alert="JobsLateFast",
        ),
        Panel(
            "Waiting for the shared rate, of each second",
            {"{{queue}}": rate("job_rate_wait_seconds_total", "queue", _QUEUE)},
            "s",
            says="Workers that wait here would do nothing more if there were more of them.",
        ),
        Panel(
            "Failed within an hour, by reason",
            {
                "{{queue}} {{reason}}": or_none(
                    f'sum by (queue, reason) (increase(jobs_total{{{_QUEUE},outcome="failed"}}[1h]))'
                )
            },
            alert="FailedJobsGrow",
        ),
        Panel(
            "Left behind by a worker, within an hour",
            {"{{queue}}": or_none(f"sum by (queue) (increase(jobs_stalled_total{{{_QUEUE}}}[1h]))")},
            alert="JobsStall",
        ),
        Panel(
            "Memory",
            {"{{job}}": 'max by (job) (process_resident_memory_bytes{job!~"rabbitmq.*"})'},
            "bytes",
            alert="ServiceRestarts",
        ),
    ),
)

SCHEDULER = Board(
    "giftcards-scheduler",
    "Gift cards: scheduler and relay",
    (
        Panel("Schedulers", {"up": 'count(up{job=~"scheduler.*"} == 1)'}, stat=True, alert="QueueUnknown"),
        Panel(
            "Published by the relay a second", {"{{queue}}": rate("relay_published_total", "queue", _QUEUE)}, "reqps"
        ),
        Panel("One batch of the relay, 99 %", {"{{job}}": quantile(0.99, "relay_batch_seconds", "job")}, "s"),
        Panel(
            "Since the last tick",
            {"{{schedule}}": "time() - max by (schedule) (schedule_last_tick_timestamp_seconds)"},
            "s",
            alert="TickMissed",
        ),
        Panel(
            "Copies of messages not settled for",
            {"age": "time() - max(wiretap_settled_timestamp_seconds)"},
            "s",
            alert="WiretapBehind",
        ),
        Panel("Ticks within an hour", {"{{schedule}}": "sum by (schedule) (increase(schedule_ticks_total[1h]))"}),
        Panel(
            "Oldest due",
            {"{{queue}}": f"max by (queue) (queue_oldest_due_seconds{{{_QUEUE}}})"},
            "s",
            alert="JobWaitsTooLong",
        ),
    ),
)

DELIVERY = Board(
    "giftcards-delivery",
    "Gift cards: delivery and providers",
    (
        Panel("Calls to providers a second", {"{{channel}} {{result}}": rate(_CALLS, "channel, result")}, "reqps"),
        Panel(
            "Accepted, of all calls",
            {"{{channel}}": f"{rate(_CALLS, 'channel', _ACCEPTED)} / {rate(_CALLS, 'channel')}"},
            "percentunit",
        ),
        Panel(
            "A provider's answer, 95 of 100 within",
            {"{{channel}}": quantile(0.95, "delivery_provider_seconds", "channel")},
            "s",
        ),
        Panel(
            "Outcome unknown within an hour",
            {"{{channel}}": or_none("sum by (channel) (increase(delivery_unconfirmed_total[1h]))")},
            alert="OutcomeUnknown",
        ),
        Panel(
            "Not settled yet",
            {"{{channel}} {{reason}}": or_none("max by (channel, reason) (deliveries_open)")},
            alert="OutcomeUnknown",
        ),
        Panel("Breakers", {"{{provider}}": or_none("max by (provider) (breakers_open)")}, alert="BreakerOpen"),
        Panel(
            "What providers report, a second",
            {"{{provider}} {{kind}}": rate("provider_reports_total", "provider, kind")},
            "reqps",
        ),
        Panel(
            "Addresses suppressed within a day",
            {"{{channel}} {{reason}}": or_none("sum by (channel, reason) (increase(suppressions_made_total[1d]))")},
        ),
        Panel(
            "Gifts that took another way, within a day",
            {"{{channel}} to {{to}}": or_none("sum by (channel, to) (increase(gift_fallbacks_total[1d]))")},
        ),
    ),
)

MONEY = Board(
    "giftcards-money",
    "Gift cards: money",
    (
        Panel(
            "Expired within a day", {"{{currency}}": "sum by (currency) (increase(gift_cards_expired_value_total[1d]))"}
        ),
        Panel(
            "Cards expired within a day", {"{{currency}}": "sum by (currency) (increase(gift_cards_expired_total[1d]))"}
        ),
        Panel("Owed on cards", {"{{currency}}": "max by (currency) (gift_cards_outstanding_value)"}),
        Panel(
            "On cards whose gift reached nobody",
            {"{{currency}}": or_none("max by (currency) (gift_cards_unreached_value)")},
        ),
        Panel(
            "Violations of invariants",
            {"{{invariant}}": "max by (invariant) (invariant_violations)"},
            alert="LedgerDrift",
        ),
        Panel(
            "Since they were counted",
            {"oldest": "time() - min(max by (invariant) (invariant_checked_timestamp_seconds))"},
            "s",
        ),
        Panel("Brakes", {"{{name}}": or_none("max by (name) (brakes_pulled)")}, stat=True, alert="ExpiryBrakePulled"),
    ),
)

SERVERS = Board(
    "giftcards-servers",
    "Gift cards: PostgreSQL and RabbitMQ",
    (
        Panel(
            "Messages ready",
            {"{{queue}}": f"max by (queue) (rabbitmq_detailed_queue_messages_ready{{{_QUEUE}}})"},
            alert="BacklogWithoutConsumer",
        ),
        Panel(
            "Messages at workers",
            {"{{queue}}": f"max by (queue) (rabbitmq_detailed_queue_messages_unacked{{{_QUEUE}}})"},
        ),
        Panel(
            "Consumers",
            {"{{queue}}": f"max by (queue) (rabbitmq_detailed_queue_consumers{{{_QUEUE}}})"},
            alert="BacklogWithoutConsumer",
        ),
        Panel("Connections to RabbitMQ", {"all": "sum(rabbitmq_connections)"}),
        Panel(
            "Memory of RabbitMQ",
            {
                "used": "max(rabbitmq_process_resident_memory_bytes)",
                "limit": "max(rabbitmq_resident_memory_limit_bytes)",
            },
            "bytes",
            alert="BrokerAlarm",
        ),
        Panel(
            "Alarms of RabbitMQ",
            {
                "memory": "max(rabbitmq_alarms_memory_used_watermark)",
                "disk": "max(rabbitmq_alarms_free_disk_space_watermark)",
            },
            stat=True,
            alert="BrokerAlarm",
        ),
        Panel("Connections to PostgreSQL", {"all": "max(database_connections)"}),
        Panel(
            "Pools of the services",
            {
                "{{state}}": "sum by (state) (database_pool_connections)",
                "waiting": "sum(database_pool_waiting)",
            },
        ),
        Panel("Transactions a second", {"{{end}}": f"max by (end) (rate(database_transactions{NOW}))"}, "reqps"),
        Panel("Size of the database", {"all": "max(database_size_bytes)"}, "bytes"),
        Panel("Deadlocks within an hour", {"all": "max(delta(database_deadlocks[1h]))"}),
    ),
)

BOARDS = (OVERVIEW, QUEUES, SCHEDULER, DELIVERY, MONEY, SERVERS)
