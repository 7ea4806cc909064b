"""What providers report of our messages: an adapter for each, one form for all, applied once and in any order."""

from services.delivery.reports.inbox import apply_orphans

__all__ = ["apply_orphans"]
