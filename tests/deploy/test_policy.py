"""Our own rules for what runs in a cluster: probed, limited, without rights, ended in time."""

from __future__ import annotations

import re

import pytest

from services.delivery.email import FINAL_TIMEOUT_S
from shared.messages import QUEUES
from tests.deploy.manifests import OVERLAYS, Manifest, built, containers, environment, names, of_kind, pods, service

GIVE_BACK_S = 10  # what still runs after the grace goes back to its row
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def settings(overlay: str) -> dict[str, str]:
    (found,) = (m for m in of_kind(overlay, "ConfigMap") if m["metadata"]["name"].startswith("giftcards-settings"))
    return dict(found["data"])


@every_overlay
def test_there_is_a_deployment_for_each_queue_which_reads_just_that(overlay: str) -> None:
    reads = {name: service(pod).get("args") for name, pod in pods(overlay).items() if name in QUEUES}

    assert reads == {queue: ["--queues", queue] for queue in QUEUES}


@every_overlay
def test_each_probe_asks_another_question(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment"):
        container = service(deployment["spec"]["template"])

        assert container["startupProbe"]["tcpSocket"] == {"port": "metrics"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "metrics"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


@every_overlay
def test_every_container_has_memory_that_is_limited_and_processor_time_that_is_not(overlay: str) -> None:
    for name, container in containers(overlay):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]

        assert set(requests) == {"cpu", "memory"}, name
        assert set(limits) == {"memory"}, f"{name}: throttled, it could not renew its leases"


@every_overlay
def test_no_container_may_do_more_than_it_must(overlay: str) -> None:
    for name, container in containers(overlay):
        tight = container["securityContext"]

        assert tight["readOnlyRootFilesystem"] is True, name
        assert tight["allowPrivilegeEscalation"] is False, name
        assert tight["capabilities"] == {"drop": ["ALL"]}, name


@every_overlay
def test_no_pod_is_root_or_knows_the_cluster(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        spec = pod["spec"]

        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 10001, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["enableServiceLinks"] is False, name  # they would be JOBS_-like variables
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["serviceAccountName"] in names(overlay, "ServiceAccount"), name
    for account in of_kind(overlay, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@every_overlay
def test_the_namespace_enforces_the_restricted_standard(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def images(manifest: Manifest | list[Manifest] | str, key: str = "") -> list[str]:
    if isinstance(manifest, dict):
        return [image for name, part in manifest.items() for image in images(part, name)]
    if isinstance(manifest, list):
        return [image for part in manifest for image in images(part)]
    return [manifest] if key in ("image", "imageName") else []


@every_overlay
def test_every_image_has_a_version(overlay: str) -> None:
    found = images(built(overlay))

    assert len(found) > len(QUEUES)
    assert [image for image in found if not re.search(r":\d[^/]*$", image)] == []


@every_overlay
def test_every_pod_ends_in_time_and_none_is_killed_before(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment"):
        pod = deployment["spec"]["template"]
        container = service(pod)
        given = settings(overlay) | environment(container)
        pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace_s = float(given["JOBS_SHUTDOWN_GRACE_S"])

        assert pod["spec"]["terminationGracePeriodSeconds"] >= pause_s + grace_s + GIVE_BACK_S
        if deployment["metadata"]["name"] == "email-delivery":
            assert grace_s > FINAL_TIMEOUT_S  # a mail cut off while its relay thinks would be unknown


@every_overlay
def test_an_update_takes_no_pod_away_before_another_is_ready(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@every_overlay
def test_every_deployment_has_a_disruption_budget_of_its_own(overlay: str) -> None:
    budgets = [m["spec"]["selector"]["matchLabels"] for m in of_kind(overlay, "PodDisruptionBudget")]
    selectors = [m["spec"]["selector"]["matchLabels"] for m in of_kind(overlay, "Deployment")]

    assert sorted(budgets, key=str) == sorted(selectors, key=str)


@every_overlay
def test_every_service_waits_for_the_migration_as_itself(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        (first,) = spec["initContainers"]

        assert first["command"] == ["python", "-m", "shared.revision"]
        assert first["image"] == spec["containers"][0]["image"]


@every_overlay
def test_each_deployment_is_scaled_by_one_thing_only(overlay: str) -> None:
    scalers = of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject")
    scaled = sorted(scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers)
    fixed = sorted(m["metadata"]["name"] for m in of_kind(overlay, "Deployment") if "replicas" in m["spec"])

    assert len({scaler["kind"] for scaler in scalers}) == 1
    assert sorted(scaled + fixed) == sorted(m["metadata"]["name"] for m in of_kind(overlay, "Deployment"))


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_bursts_are_scaled_by_their_own_queues_and_never_to_nothing(overlay: str) -> None:
    for scaled in of_kind(overlay, "ScaledObject"):
        queue = scaled["spec"]["scaleTargetRef"]["name"]
        triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]

        assert [trigger["queueName"] for trigger in triggers] == [queue, f"{queue}.urgent"]
        assert {trigger["excludeUnacknowledged"] for trigger in triggers} == {"false"}
        assert scaled["spec"]["minReplicaCount"] >= 1


def test_schedulers_are_two_and_in_production_never_on_one_node() -> None:
    (scheduler,) = (m for m in of_kind("production", "Deployment") if m["metadata"]["name"] == "scheduler")
    spread = scheduler["spec"]["template"]["spec"]["topologySpreadConstraints"]

    assert scheduler["spec"]["replicas"] == 2
    assert (spread[0]["topologyKey"], spread[0]["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")


def test_production_survives_the_loss_of_a_node() -> None:
    (broker,), (database,) = of_kind("production", "RabbitmqCluster"), of_kind("production", "Cluster")

    assert broker["spec"]["replicas"] == database["spec"]["instances"] == 3
    assert "JOBS_QUEUE_TYPE" not in settings("production")  # quorum, by default
    assert len(of_kind("production", "ScheduledBackup")) == 1
