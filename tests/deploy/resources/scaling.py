"""KEDA: ScaledObject and TriggerAuthentication."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tests.deploy.resources.strict import Named, Resource, Strict


class RabbitTrigger(Strict):
    """The numbers are strings: KEDA takes no others."""

    protocol: Literal["http"]
    mode: Literal["QueueLength"]
    queue_name: str
    value: str = Field(pattern=r"^\d+$")
    exclude_unacknowledged: Literal["true", "false"]


class Trigger(Strict):
    type: Literal["rabbitmq"]
    metadata: RabbitTrigger
    authentication_ref: Named


class Policy(Strict):
    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: int


class ScaleDown(Strict):
    stabilization_window_seconds: int = Field(ge=0, le=3600)
    policies: list[Policy]


class Behavior(Strict):
    scale_down: ScaleDown


class HpaConfig(Strict):
    behavior: Behavior


class Advanced(Strict):
    horizontal_pod_autoscaler_config: HpaConfig


class Fallback(Strict):
    failure_threshold: int
    replicas: int


class ScaledObjectSpec(Strict):
    scale_target_ref: Named
    min_replica_count: int
    max_replica_count: int
    polling_interval: int
    cooldown_period: int
    fallback: Fallback
    advanced: Advanced
    triggers: list[Trigger] = Field(min_length=1)


class ScaledObject(Resource):
    api_version: Literal["keda.sh/v1alpha1"]
    spec: ScaledObjectSpec


class SecretTarget(Strict):
    parameter: str
    name: str
    key: str


class TriggerAuthenticationSpec(Strict):
    secret_target_ref: list[SecretTarget]


class TriggerAuthentication(Resource):
    api_version: Literal["keda.sh/v1alpha1"]
    spec: TriggerAuthenticationSpec
