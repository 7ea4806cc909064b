"""Prometheus Operator: PodMonitor and PrometheusRule."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.deploy.resources.strict import Resource, Strict


class Selector(Strict):
    match_labels: dict[str, str]


class Relabeling(Strict):
    source_labels: list[str] = []
    target_label: str
    replacement: str = ""


class Endpoint(Strict):
    port: str
    interval: str = Field(pattern=r"^\d+s$")
    path: str = "/metrics"
    params: dict[str, list[str]] = {}
    relabelings: list[Relabeling] = []


class PodMonitorSpec(Strict):
    selector: Selector
    pod_target_labels: list[str] = []
    pod_metrics_endpoints: list[Endpoint]


class PodMonitor(Resource):
    api_version: Literal["monitoring.coreos.com/v1"]
    spec: PodMonitorSpec


class Rule(BaseModel):
    """Either an alert or a record."""

    model_config = ConfigDict(extra="forbid", strict=True)

    alert: str | None = None
    record: str | None = None
    expr: str
    for_: str | None = Field(default=None, alias="for", pattern=r"^\d+[smhd]$")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Group(Strict):
    name: str
    interval: str | None = None
    rules: list[Rule]


class PrometheusRuleSpec(Strict):
    groups: list[Group]


class PrometheusRule(Resource):
    api_version: Literal["monitoring.coreos.com/v1"]
    spec: PrometheusRuleSpec
