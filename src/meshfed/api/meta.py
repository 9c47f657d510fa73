"""The parts of Kubernetes' object metadata that Meshfed reads, and conditions as they are stored."""

from __future__ import annotations

from typing import Literal

import msgspec


class ObjectMeta(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
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


class StatusCondition(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A condition as it stands in ``status.conditions`` (metav1.Condition)."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0
