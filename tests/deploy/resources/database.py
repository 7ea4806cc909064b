"""CloudNativePG: the cluster and its backups."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tests.deploy.resources.strict import Named, Resource, Resources, Storage, Strict


class ManagedRole(Strict):
    name: str
    ensure: Literal["present"]
    login: bool
    in_roles: list[str] = []
    password_secret: Named | None = None


class Managed(Strict):
    roles: list[ManagedRole]


class InitDb(Strict):
    database: str
    owner: str
    secret: Named


class Bootstrap(Strict):
    initdb: InitDb


class Postgresql(Strict):
    parameters: dict[str, str]


class Plugin(Strict):
    name: str
    is_wal_archiver: bool = Field(default=False, alias="isWALArchiver")
    parameters: dict[str, str] = {}


class ClusterSpec(Strict):
    instances: int
    image_name: str
    enable_pdb: bool = Field(alias="enablePDB")
    enable_superuser_access: bool
    min_sync_replicas: int = 0
    max_sync_replicas: int = 0
    bootstrap: Bootstrap
    storage: Storage
    wal_storage: Storage
    postgresql: Postgresql
    resources: Resources
    managed: Managed
    plugins: list[Plugin] = []


class Cluster(Resource):
    api_version: Literal["postgresql.cnpg.io/v1"]
    spec: ClusterSpec


class ScheduledBackupSpec(Strict):
    schedule: str = Field(pattern=r"^(\S+ ){5}\S+$")
    backup_owner_reference: Literal["self", "cluster", "none"]
    cluster: Named
    method: Literal["plugin"]
    plugin_configuration: Named


class ScheduledBackup(Resource):
    api_version: Literal["postgresql.cnpg.io/v1"]
    spec: ScheduledBackupSpec


class ObjectStoreSpec(Strict):
    retention_policy: str = Field(pattern=r"^[1-9]\d*[dwm]$")
    configuration: dict[Literal["destinationPath", "s3Credentials", "wal"], Any]


class ObjectStore(Resource):
    api_version: Literal["barmancloud.cnpg.io/v1"]
    spec: ObjectStoreSpec
