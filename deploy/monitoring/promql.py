"""What the dashboards ask again and again, as PromQL."""

from __future__ import annotations

NOW = "[$__rate_interval]"


def rate(metric: str, by: str, where: str = "") -> str:
    """Count a second, by labels."""
    return f"sum by ({by}) (rate({metric}{{{where}}}{NOW}))"


def quantile(share: float, metric: str, by: str, where: str = "") -> str:
    """Give what a share of a histogram stays below, by labels."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{{where}}}{NOW})))"


def or_none(query: str) -> str:
    """Show 0 where there is nothing to count: a healthy system has none of these series."""
    return f"{query} or vector(0)"
