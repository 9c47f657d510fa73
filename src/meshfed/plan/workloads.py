"""What is behind each Service: Pods, and WorkloadEntries that others wrote.

Workloads that are alike, as those of one Deployment are, count as one: most changes to Pods end at a number that goes
up or down, and only the first and the last of a kind asks which Services select it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from meshfed.api.core import Pod
from meshfed.model.offers import TLS_MODE
from meshfed.model.workloads import Serving, Workload
from meshfed.plan.selecting import Selectors

Place = tuple[str, str]
Name = tuple[str, str, str]
"""Kind, namespace and name of a workload."""

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


class Workloads:
    """The workloads of all namespaces, and what they are to the Services that select them.

    ``changed`` is called with a Service when what is behind it has become another, ``sort_changed`` with a namespace
    and a workload when the first of its like is there, or none any more.
    """

    def __init__(
        self,
        selectors: Selectors,
        changed: Callable[[Place], None],
        sort_changed: Callable[[str, Workload, bool], None],
    ) -> None:
        self._selectors = selectors
        self._sort_changed = sort_changed
        self._changed = changed
        self._workloads: dict[Name, Workload] = {}
        self._numbers: dict[str, dict[Workload, int]] = {}
        """How many there are of each, by namespace."""
        self._behind: dict[Place, set[Workload]] = {}
        self._serving: dict[Place, Serving] = {}

    def change(self, name: Name, workload: Workload | None) -> None:
        """Take in a workload."""
        before = self._workloads.pop(name, None)
        if workload is not None:
            self._workloads[name] = workload
        if before == workload:
            return
        namespace = name[1]
        touched = set(self._count(namespace, workload, 1)) if workload is not None else set()
        if before is not None:
            touched.update(self._count(namespace, before, -1))
        for service in touched:
            self._look((namespace, service))

    def _count(self, namespace: str, workload: Workload, by: int) -> list[str]:
        """Count one more or less, and return the Services that have one sort more or less behind them."""
        numbers = self._numbers.setdefault(namespace, {})
        before = numbers.get(workload, 0)
        after = numbers[workload] = before + by
        if not after:
            del numbers[workload]
            if not numbers:
                del self._numbers[namespace]
        if before and after:
            return []
        self._sort_changed(namespace, workload, after > 0)
        services = list(self._selectors.selecting(namespace, dict(workload.labels)))
        for service in services:
            behind = self._behind.setdefault((namespace, service), set())
            (behind.add if after else behind.discard)(workload)
        return services

    def service_changed(self, place: Place) -> None:
        """Take note that the selector of a Service is another, which ``selectors`` holds already."""
        namespace, name = place
        selector = self._selectors.of(namespace, name)
        found = {one for one in self._numbers.get(namespace, ()) if one.has(selector)} if selector else set()
        if found != self._behind.get(place, set()):
            self._behind[place] = found
        self._look(place)

    def _look(self, place: Place) -> None:
        behind = self._behind.get(place)
        if not behind:
            self._behind.pop(place, None)
        after = Serving.of(behind or ())
        if after == self.serving(place):
            return
        if behind:
            self._serving[place] = after
        else:
            del self._serving[place]
        self._changed(place)

    def sorts(self) -> Iterator[tuple[str, Workload]]:
        """Yield each sort of workload there is, with its namespace."""
        return ((namespace, one) for namespace, numbers in self._numbers.items() for one in numbers)

    def serving(self, place: Place) -> Serving:
        """Return what is behind a Service."""
        return self._serving.get(place, Serving())
