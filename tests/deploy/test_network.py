"""Who may talk to whom in a cluster: just what is needed, worked out from the policies as a cluster would."""

from __future__ import annotations

from typing import Any

from shared.messages import QUEUES
from tests.deploy.manifests import of_kind, pods

BROKER, DATABASE = {"app.kubernetes.io/name": "broker"}, {"cnpg.io/cluster": "database"}
DNS, AMQP, POSTGRES = 53, 5672, 5432
SERVICES = {
    **{queue: {("broker", AMQP), ("database", POSTGRES)} for queue in QUEUES},
    "scheduler": {("broker", AMQP), ("database", POSTGRES)},
    "webhooks": {("world", 443), ("database", POSTGRES)},
    "console": {("database", POSTGRES)},
    "migration": {("database", POSTGRES)},
}
SERVICES["email-delivery"] = SERVICES["email-delivery"] | {("world", 465), ("world", 587)}
SERVICES["sms-delivery"] = SERVICES["sms-delivery"] | {("world", 443)}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )


def where(peer: dict[str, Any]) -> str:
    """Name what a rule lets a pod reach, or who may reach it."""
    if "ipBlock" in peer:
        assert "10.0.0.0/8" in peer["ipBlock"]["except"]
        return "world"
    if space := peer.get("namespaceSelector"):
        return str(space["matchLabels"]["kubernetes.io/metadata.name"])
    selector = peer["podSelector"]
    if selects(selector, BROKER):
        return "broker"
    return "database" if selects(selector, DATABASE) else "services"


def paths(labels: dict[str, str], direction: str, side: str, overlay: str = "production") -> set[tuple[str, Any]]:
    """Give every peer and port that a pod with these labels has in one direction."""
    rules = [
        rule
        for policy in of_kind(overlay, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], labels) and direction in policy["spec"]["policyTypes"]
        for rule in policy["spec"].get(direction.lower(), [])
    ]
    return {
        (where(peer) if peer else "anywhere", port["port"])
        for rule in rules
        for peer in rule.get(side, [{}])
        for port in rule["ports"]
    }


def test_every_service_reaches_what_it_needs_and_nothing_else() -> None:
    reached = {
        name: paths(pod["metadata"]["labels"], "Egress", "to") - {("kube-system", DNS)}
        for name, pod in pods("production").items()
    }

    assert reached == SERVICES


def test_where_tracing_is_chosen_workers_and_schedulers_reach_the_collector_and_nobody_else_does() -> None:
    reached = {
        name: ("monitoring", 4318) in paths(pod["metadata"]["labels"], "Egress", "to", "staging")
        for name, pod in pods("staging").items()
    }

    assert reached == {name: name in {*QUEUES, "scheduler"} for name in SERVICES}


def test_where_a_provider_is_chosen_the_console_reaches_it_and_its_other_paths_stay() -> None:
    labels = pods("staging")["console"]["metadata"]["labels"]
    reached = paths(labels, "Egress", "to", "staging") - {("kube-system", DNS)}

    assert reached == SERVICES["console"] | {("world", 443)}


def test_only_webhooks_and_the_console_are_reached_from_outside_and_all_else_only_by_prometheus() -> None:
    for name, pod in pods("production").items():
        reached_by = {peer for peer, _ in paths(pod["metadata"]["labels"], "Ingress", "from")}

        assert reached_by == {"monitoring"} | ({"ingress-nginx"} if name in ("webhooks", "console") else set())


def test_broker_and_database_are_reached_by_services_operators_and_themselves() -> None:
    assert paths(BROKER, "Ingress", "from") == {
        ("services", AMQP),
        *((peer, 15672) for peer in ("rabbitmq-system", "keda")),
        *(("broker", port) for port in (4369, 25672)),
        *(("monitoring", port) for port in (9191, 9187, 15692)),
    }
    assert paths(DATABASE, "Ingress", "from") == {
        ("services", POSTGRES),
        *((peer, port) for peer in ("database", "cnpg-system") for port in (POSTGRES, 8000)),
        *(("monitoring", port) for port in (9191, 9187, 15692)),
    }


def test_what_no_policy_names_is_denied() -> None:
    (default,) = (p for p in of_kind("production", "NetworkPolicy") if p["metadata"]["name"] == "default-deny")

    assert default["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
