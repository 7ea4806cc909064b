"""The manifests as a cluster would get them: each overlay built once, by the kubectl of requirements.txt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from deploy.local.state import ROOT

Manifest: TypeAlias = dict[str, Any]

OVERLAYS = ("dev", "staging", "production")
PROGRAMS = Path(sys.executable).parent


@cache
def built(overlay: str) -> list[Manifest]:
    """Build an overlay; nothing of the cluster or of this machine is asked."""
    command = [str(PROGRAMS / "kubectl"), "kustomize", str(ROOT / "deploy/k8s/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(overlay: str, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in built(overlay) if manifest["kind"] in kinds]


def names(overlay: str, kind: str) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in of_kind(overlay, kind)}


def pods(overlay: str) -> dict[str, Manifest]:
    """Give the pod template of each Deployment and Job, by its name."""
    return {m["metadata"]["name"]: m["spec"]["template"] for m in of_kind(overlay, "Deployment", "Job")}


def containers(overlay: str) -> Iterator[tuple[str, Manifest]]:
    """Give every container of every pod, those that run first, too, with a name to tell it by."""
    for name, pod in pods(overlay).items():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield f"{name}/{container['name']}", container


def service(pod: Manifest) -> Manifest:
    """Give the container that does the work."""
    (container,) = pod["spec"]["containers"]
    return dict(container)


def environment(container: Manifest) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container.get("env", [])}
