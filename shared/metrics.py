"""Every metric, in one place: Prometheus names, seconds, and labels that stay few (never an id)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

jobs = Counter("jobs", "Job runs by how they ended.", ["queue", "actor", "outcome", "reason"])
job_seconds = Histogram("job_duration_seconds", "From a job's start to its end.", ["queue", "actor"], buckets=_BUCKETS)
lateness_seconds = Histogram("job_start_lateness_seconds", "From due to started.", ["queue"], buckets=_BUCKETS)
slot_wait_seconds = Counter("job_rate_wait_seconds", "Time waited for a slot of the shared rate.", ["queue"])
stalled = Counter("jobs_stalled", "Jobs whose worker went silent.", ["queue", "actor"])
running = Gauge("jobs_running", "Jobs that this process runs now.", ["queue"])
duplicates = Counter("jobs_duplicate_messages", "Messages of jobs that somebody has or had.", ["queue"])
foreign_acks = Counter("acks_dropped", "Acks dropped because their channel is gone.", ["queue"])

relayed = Counter("relay_published", "Rows published by this relay.", ["queue"])
relay_batch_seconds = Histogram("relay_batch_seconds", "One batch: claim, publish, mark.", buckets=_BUCKETS)
ticks = Counter("schedule_ticks", "Cron ticks turned into jobs by this scheduler.", ["schedule"])
attempts = Counter("delivery_attempts", "Calls to providers by class of result.", ["channel", "result"])
breaker_open = Gauge("breaker_open", "1 while nothing is sent through a provider.", ["provider"])
provider_seconds = Histogram(
    "delivery_provider_seconds",
    "One call to a provider, until its answer or our patience ends.",
    ["channel"],
    buckets=_BUCKETS,
)
unconfirmed = Counter("delivery_unconfirmed", "Sends whose outcome the provider did not tell.", ["channel"])
provider_reports = Counter("provider_reports", "What providers said of messages.", ["provider", "kind", "outcome"])
webhooks_refused = Counter("webhook_requests_refused", "Requests that no provider of ours made.", ["route", "reason"])
suppressed = Counter("suppressions_made", "Addresses that are no longer written to.", ["channel", "reason"])
fallbacks = Counter("gift_fallbacks", "Gifts that could not be delivered, by what is done instead.", ["channel", "to"])
expired_value = Counter("gift_cards_expired_value", "Money booked as expired, in major units.", ["currency"])
expired_cards = Counter("gift_cards_expired", "Cards expired.", ["currency"])
brake_pulled = Gauge("expiry_brake_pulled", "1 while the expiry sweep waits for an operator.")
tokens_deleted = Counter("tokens_deleted", "Refresh tokens deleted.")
