"""The parts of Kubernetes' object metadata that Meshfed reads, and conditions as they are stored."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from meshfed.api.scalars import Timestamp


class ObjectMeta(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A projection of ``metadata``: fields we do not use are skipped when decoding."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    finalizers: tuple[str, ...] = ()


class RefusedCount(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How many of a remote's offers are not imported for one reason."""

    reason: str
    """Why, as one word; the same as on these FederatedServices."""
    count: int
    """How many."""


class StatusCondition(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A condition (metav1.Condition)."""

    type: str
    """What the condition speaks of."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str
    """Why, as one word."""
    message: str = ""
    """Why, as a sentence for a person."""
    last_transition_time: Timestamp = ""
    """When `status` last changed."""
    observed_generation: int = 0
    """The generation of the spec that the condition speaks of."""


Conditions = Annotated[
    tuple[StatusCondition, ...],
    Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]
RefusedByReason = Annotated[
    tuple[RefusedCount, ...],
    Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["reason"]}),
]
