"""What all models of the operators' resources are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Quantity = Field(pattern=r"^\d+(m|Ki|Mi|Gi|)$")


class Strict(BaseModel):
    """Refuse what is not named."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, strict=True)


class Named(Strict):
    name: str


class Metadata(Strict):
    name: str
    namespace: str
    labels: dict[str, str] = {}


class Resource(Strict):
    api_version: str
    kind: str
    metadata: Metadata


class Amounts(Strict):
    cpu: str | None = Quantity
    memory: str = Quantity


class Limits(Strict):
    memory: str = Quantity


class Resources(Strict):
    requests: Amounts
    limits: Limits


class Storage(Strict):
    size: str = Quantity


class Persistence(Strict):
    storage: str = Quantity
