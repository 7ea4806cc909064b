"""RabbitMQ: its cluster, users and permissions."""

from __future__ import annotations

from typing import Any, Literal

from tests.deploy.resources.strict import Named, Persistence, Resource, Resources, Strict


class Rabbitmq(Strict):
    additional_config: str


class RabbitmqClusterSpec(Strict):
    replicas: int
    image: str
    termination_grace_period_seconds: int
    persistence: Persistence
    resources: Resources
    rabbitmq: Rabbitmq
    override: dict[Literal["statefulSet"], Any]
    affinity: dict[Literal["podAntiAffinity"], Any] = {}


class RabbitmqCluster(Resource):
    api_version: Literal["rabbitmq.com/v1beta1"]
    spec: RabbitmqClusterSpec


class UserSpec(Strict):
    tags: list[Literal["monitoring"]] = []
    import_credentials_secret: Named
    rabbitmq_cluster_reference: Named


class User(Resource):
    api_version: Literal["rabbitmq.com/v1beta1"]
    spec: UserSpec


class Patterns(Strict):
    configure: str
    write: str
    read: str


class PermissionSpec(Strict):
    vhost: str
    user_reference: Named
    permissions: Patterns
    rabbitmq_cluster_reference: Named


class Permission(Resource):
    api_version: Literal["rabbitmq.com/v1beta1"]
    spec: PermissionSpec
