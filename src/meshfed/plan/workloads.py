"""Workloads: Pods, and WorkloadEntries that others wrote.

Those that are alike, as those of one Deployment are, are kept once and count as one (`meshfed.derive.Distinct`): most
changes to Pods end at a number that goes up or down, and only the first and the last of a kind asks which Services
select it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from meshfed.api.core import Pod
from meshfed.model.offers import TLS_MODE
from meshfed.model.workloads import Workload

_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_DEFAULT_ACCOUNT: Final = "default"
_alike: WeakKeyDictionary[Workload, ref[Workload]] = WeakKeyDictionary()


def of_pod(pod: Pod) -> Workload:
    """Return what matters of a Pod; one that has finished is nothing any more, and has no labels.

    It counts from when it exists, not from when it is ready, so that who serves a host is announced before it does.
    """
    if pod.status.phase in _FINISHED:
        return _kept(Workload())
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)
    return _workload(
        pod.metadata.labels,
        account=pod.spec.service_account_name or _DEFAULT_ACCOUNT,
        ready=ready and not pod.metadata.deletion_timestamp,
    )


def of_entry(entry: Mapping[str, Any]) -> Workload:
    """Return what matters of a WorkloadEntry, as plain data: its labels are those of its spec and its metadata."""
    spec = _mapping(entry.get("spec"))
    labels = _mapping(spec.get("labels")) | _mapping(_mapping(entry.get("metadata")).get("labels"))
    return _workload(
        {key: value for key, value in labels.items() if isinstance(value, str)},
        account=str(spec.get("serviceAccount") or ""),
        ready=True,
    )


def _workload(labels: Mapping[str, str], *, account: str, ready: bool) -> Workload:
    return _kept(
        Workload(
            labels=tuple(sorted(labels.items())),
            account=account,
            in_mesh=labels.get(TLS_MODE) == "istio",
            ready=ready,
        )
    )


def _kept(workload: Workload) -> Workload:
    """Return the one that is kept of all equal ones, for as long as anybody holds it."""
    return _alike.setdefault(workload, ref(workload))() or workload


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def labelled(namespace: str, labels: Iterable[tuple[str, str]]) -> frozenset[Any]:
    """Return the labels of something, or those that it selects by, with its namespace, in which alone these count."""
    return frozenset((namespace, *labels))


def namespace_of(place: tuple[str, str]) -> str:
    """Return where an object may select anything of which nothing is known."""
    return place[0]


def namespace_in(labels: frozenset[Any]) -> str | None:
    """Return the namespace of what is `labelled`; ``None`` for labels alone, which count in all of them."""
    return next((item for item in labels if isinstance(item, str)), None)
