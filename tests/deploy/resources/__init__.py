"""What we use of the operators' resources, field by field: a field that is not here is misspelt, or is to be looked up.

From the API references of KEDA 2.16, Prometheus Operator 0.80, RabbitMQ Cluster Operator 2, Messaging Topology
Operator 1, CloudNativePG 1.27 with the Barman Cloud plugin 0.7, and External Secrets 0.17.
"""

from __future__ import annotations

from tests.deploy.resources.broker import Permission, RabbitmqCluster, User
from tests.deploy.resources.database import Cluster, ObjectStore, ScheduledBackup
from tests.deploy.resources.monitoring import PodMonitor, PrometheusRule
from tests.deploy.resources.scaling import ScaledObject, TriggerAuthentication
from tests.deploy.resources.secrets import ExternalSecret
from tests.deploy.resources.strict import Resource

RESOURCES: dict[str, type[Resource]] = {
    model.__name__: model
    for model in (
        ScaledObject,
        TriggerAuthentication,
        PodMonitor,
        PrometheusRule,
        RabbitmqCluster,
        User,
        Permission,
        Cluster,
        ScheduledBackup,
        ObjectStore,
        ExternalSecret,
    )
}
