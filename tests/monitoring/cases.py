"""For each alert: series with which it fires, and series, close to those, with which it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Series: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Values in promtool's notation, one a ``step`` from the beginning; looked at at ``at``."""

    fires: Series
    quiet: Series
    at: str = "20m"
    step: str = "1m"


def _started(late: int, of: int, steps: int) -> Series:
    """Of so many jobs a step, some start late."""
    return {
        'job_start_lateness_seconds_bucket{queue="q",le="60.0"}': f"0+{of - late}x{steps}",
        'job_start_lateness_seconds_count{queue="q"}': f"0+{of}x{steps}",
    }


def _ended(failed: int, of: int, steps: int) -> Series:
    """Of so many jobs a step, some fail."""
    return {
        'jobs_total{queue="q",outcome="failed"}': f"0+{failed}x{steps}",
        'jobs_total{queue="q",outcome="succeeded"}': f"0+{of - failed}x{steps}",
    }


_HEAD = 'rabbitmq_detailed_queue_messages_ready{vhost="/",queue='
_READERS = 'rabbitmq_detailed_queue_consumers{vhost="/",queue='

CASES = {
    "JobsLateFast": Case(_started(20, 1000, 90), _started(10, 1000, 90), "80m"),
    "JobsLateSteadily": Case(_started(10, 1000, 90), _started(5, 1000, 90), "400m", "5m"),
    "JobsLateSlowly": Case(_started(2, 1000, 160), _started(0, 1000, 160), "75h", "30m"),
    "JobsFailingFast": Case(_ended(20, 1000, 90), _ended(10, 1000, 90), "80m"),
    "JobsFailingSteadily": Case(_ended(10, 1000, 90), _ended(5, 1000, 90), "400m", "5m"),
    "JobsFailingSlowly": Case(_ended(2, 1000, 160), _ended(0, 1000, 160), "75h", "30m"),
    "JobWaitsTooLong": Case(
        {'queue_oldest_due_seconds{queue="q"}': "400x30"},
        {'queue_oldest_due_seconds{queue="q"}': "400x30", 'queue_jobs{queue="q",state="paused"}': "1x30"},
    ),
    "BacklogWithoutConsumer": Case(
        {f'{_HEAD}"q"}}': "7x30", f'{_READERS}"q"}}': "0x30"},
        {
            f'{_HEAD}"q"}}': "7x30",
            f'{_READERS}"q"}}': "1x30",
            f'{_HEAD}"q.XQ"}}': "1x30",
            f'{_READERS}"q.XQ"}}': "0x30",
        },
    ),
    "FailedJobsGrow": Case(
        {'jobs_total{queue="q",outcome="failed"}': "0+1x30"}, {'jobs_total{queue="q",outcome="failed"}': "9x30"}
    ),
    "JobsStall": Case({'jobs_stalled_total{queue="q"}': "0+1x30"}, {'jobs_stalled_total{queue="q"}': "0 0 1x28"}),
    "QueuePausedTooLong": Case(
        {'queue_jobs{queue="q",state="paused"}': "1x200"},
        {'queue_jobs{queue="q",state="paused"}': "1x100 0x100"},
        "150m",
    ),
    "QueueUnknown": Case({"nothing": "1x30"}, {'queue_jobs{queue="q",state="paused"}': "0x30"}),
    "WiretapBehind": Case(
        {"wiretap_settled_timestamp_seconds": "0x30"}, {"wiretap_settled_timestamp_seconds": "0+60x30"}
    ),
    "TickMissed": Case(
        {'schedule_last_tick_timestamp_seconds{schedule="expire_due_gift_cards"}': "0x30"},
        {'schedule_last_tick_timestamp_seconds{schedule="expire_due_gift_cards"}': "0+60x30"},
    ),
    "OutcomeUnknown": Case(
        {'deliveries_open{channel="sms",reason="held"}': "1x60"},
        {'deliveries_open{channel="sms",reason="sending"}': "5x60"},
        "50m",
    ),
    "BreakerOpen": Case({'breakers_open{provider="p"}': "1x30"}, {'breakers_open{provider="p"}': "1x3 _x27"}),
    "LedgerDrift": Case(
        {'invariant_violations{invariant="I1"}': "1x30"}, {'invariant_violations{invariant="I1"}': "0x30"}
    ),
    "InvariantBroken": Case(
        {'invariant_violations{invariant="I6"}': "1x30"}, {'invariant_violations{invariant="I1"}': "1x30"}
    ),
    "ExpiryBrakePulled": Case({'brakes_pulled{name="expiry"}': "1x30"}, {'brakes_pulled{name="expiry"}': "1x2 _x28"}),
    "ServiceRestarts": Case(
        {'process_start_time_seconds{job="email-delivery"}': "0 0 60 60 120 120 180x24"},
        {'process_start_time_seconds{job="email-delivery"}': "0 0 60 60 120x26"},
    ),
    "ServiceDown": Case({'up{job="scheduler"}': "0x30"}, {'up{job="scheduler"}': "0 0 1x28"}),
    "BrokerAlarm": Case(
        {"rabbitmq_alarms_memory_used_watermark": "1x30", "rabbitmq_alarms_free_disk_space_watermark": "0x30"},
        {"rabbitmq_alarms_memory_used_watermark": "0x30", "rabbitmq_alarms_free_disk_space_watermark": "0x30"},
    ),
}
