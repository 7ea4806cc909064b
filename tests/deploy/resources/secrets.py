"""External Secrets."""

from __future__ import annotations

from typing import Literal

from tests.deploy.resources.strict import Resource, Strict


class Extract(Strict):
    key: str


class From(Strict):
    extract: Extract


class Store(Strict):
    kind: Literal["SecretStore", "ClusterSecretStore"]
    name: str


class Target(Strict):
    creation_policy: Literal["Owner", "Orphan", "Merge", "None"]


class ExternalSecretSpec(Strict):
    refresh_interval: str
    secret_store_ref: Store
    target: Target
    data_from: list[From]


class ExternalSecret(Resource):
    api_version: Literal["external-secrets.io/v1"]
    spec: ExternalSecretSpec
