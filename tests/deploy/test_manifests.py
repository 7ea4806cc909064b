"""What a cluster gets is well formed: by Kubernetes' own schemas, and by what we use of the operators' resources."""

from __future__ import annotations

import kubernetes_validate
import pytest
from pydantic import ValidationError

from tests.deploy.manifests import OVERLAYS, built
from tests.deploy.resources import RESOURCES

VERSIONS = ("1.32", "1.37")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_is_what_kubernetes_takes(overlay: str, version: str) -> None:
    for manifest in built(overlay):
        if manifest["kind"] not in RESOURCES:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_word_would_be_found() -> None:
    manifest = next(m for m in built("production") if m["kind"] == "PodDisruptionBudget")
    misspelt = manifest | {"spec": manifest["spec"] | {"maxUnavailible": 1}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_of_an_operator_has_the_fields_that_it_knows(overlay: str) -> None:
    for manifest in built(overlay):
        if manifest["kind"] in RESOURCES:
            RESOURCES[manifest["kind"]].model_validate(manifest)


def test_a_misspelt_word_of_an_operator_would_be_found() -> None:
    manifest = next(m for m in built("production") if m["kind"] == "ScaledObject")
    misspelt = manifest | {"spec": manifest["spec"] | {"minReplicas": 1}}

    with pytest.raises(ValidationError, match="minReplicas"):
        RESOURCES["ScaledObject"].model_validate(misspelt)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_stands_in_the_one_namespace(overlay: str) -> None:
    spaces = {m["metadata"].get("namespace") for m in built(overlay) if m["kind"] != "Namespace"}

    assert spaces == {"giftcards"}
