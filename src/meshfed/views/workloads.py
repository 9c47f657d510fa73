"""Who may serve something in a cluster, by what it held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from meshfed.api.core import Pod
from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL
from meshfed.model.workloads import Workload
from meshfed.plan.workloads import of_entry, of_pod
from meshfed.views.snapshot import Document, Snapshot


def workloads(snapshot: Snapshot, namespace: str = "") -> Iterator[tuple[str, Workload]]:
    """Yield Pods and WorkloadEntries of others, each after its namespace; of one namespace, or of all."""
    for document in snapshot.of_kind("Pod"):
        at = _metadata(document).get("namespace", "")
        if namespace in {"", at}:
            try:
                yield at, of_pod(msgspec.convert(document, Pod)).workload
            except msgspec.ValidationError:
                continue
    for document in snapshot.of_kind("WorkloadEntry"):
        at = _metadata(document).get("namespace", "")
        if namespace in {"", at} and OWNER_NAMESPACE_LABEL not in (_metadata(document).get("labels") or {}):
            yield at, of_entry(document).workload


def _metadata(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = document.get("metadata") or {}
    return found
