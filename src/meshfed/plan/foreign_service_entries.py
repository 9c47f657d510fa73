"""ServiceEntries that are not ours, by the hosts that they have: a host of an import may be among them.

Of all that has a host, a proxy takes what it is shown first, and nothing else (``SidecarScope.appendSidecarServices``):
a Kubernetes Service before any ServiceEntry, then what is exported to the proxy's namespace by name before what
is exported to all (``PushContext.servicesExportedToNamespace``), then the oldest. Where two are in one namespace, the
endpoints of both are behind it. So the other one may take the place of ours, or ours its. Nothing is withheld because
of that: which of them is the older may be any, and what works now is not to go because of what somebody else adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from meshfed.derive import Context, Derived, Graph, Index, Input, SubsetIndex
from meshfed.model.workloads import Workload
from meshfed.plan.meshes import visible_in
from meshfed.plan.values import Place
from meshfed.plan.workloads import labelled, namespace_in, namespace_of, of_endpoints


class ForeignServiceEntry(msgspec.Struct, frozen=True):
    """What of somebody else's ServiceEntry matters: the workloads it selects, or else has, its hosts, who sees them.

    An empty ``workloadSelector`` matches every workload (``krt.FilterLabel``), one that is not there none.
    """

    selector: dict[str, str] | None = None
    """The labels of its ``workloadSelector``, of which none select all of its namespace; ``None`` where it has none."""
    endpoints: tuple[Workload, ...] = ()
    """Those that a Service of one of its hosts has too, alike ones once."""
    hosts: tuple[str, ...] = ()
    visible_in: tuple[str, ...] | None = None
    """The namespaces whose clients see it, sorted; ``None``: all of them."""


def of_service_entry(entry: Mapping[str, Any]) -> ForeignServiceEntry:
    """Return what of a ServiceEntry matters, whatever else it is."""
    metadata, spec = _mapping(entry.get("metadata")), _mapping(entry.get("spec"))
    selects = isinstance(spec.get("workloadSelector"), dict)
    labels = _mapping(_mapping(spec.get("workloadSelector")).get("labels"))
    return ForeignServiceEntry(
        selector={key: value for key, value in labels.items() if isinstance(value, str)} if selects else None,
        endpoints=of_endpoints(spec.get("endpoints")),
        hosts=tuple(sorted(set(_texts(spec.get("hosts"))))),
        visible_in=visible_in(_texts(spec.get("exportTo")), str(metadata.get("namespace", ""))),
    )


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _texts(found: object) -> list[str]:
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


class ForeignServiceEntries:
    """The ServiceEntries of others: by the hosts for which they are rivals, and by what they select."""

    def __init__(self, graph: Graph, inputs: Input[Place, ForeignServiceEntry]) -> None:
        self._inputs = inputs
        self.entries = Derived[Place, ForeignServiceEntry](
            graph, "what matters of ServiceEntry", self._entry, over=[inputs]
        )
        self.by_host = Index(graph, "ServiceEntries for", self.entries, _rival_for, perhaps=lambda _: ())
        """One of which nothing is known is no rival: nothing is withheld because of a rival."""
        self.adding = Index(
            graph, "ServiceEntries for Services of", self.entries, _adds_in, perhaps=lambda place: place[:1]
        )
        """Those whose endpoints are a Service's too, by namespace."""
        self.selecting = SubsetIndex[Place](
            graph, "ServiceEntries that select", self.entries, selected_by, perhaps=namespace_of, where=namespace_in
        )

    def _entry(self, context: Context, place: Place) -> ForeignServiceEntry | None:
        """Return what of a ServiceEntry matters."""
        return context.get(self._inputs, place)


def _rival_for(_place: Place, entry: ForeignServiceEntry) -> Iterator[str]:
    """Yield the hosts of an entry, if anybody sees it; one with a wildcard comes after any host."""
    return (host for host in entry.hosts if "*" not in host and entry.visible_in != ())


def _adds_in(place: Place, entry: ForeignServiceEntry) -> tuple[str, ...]:
    """Return the namespace in which Services have an entry's endpoints too: its own, where it has hosts of that."""
    own = any(host.split(".")[1:3] == [place[0], "svc"] for host in entry.hosts)
    return place[:1] if own and (entry.endpoints or entry.selector is not None) else ()


def selected_by(place: Place, entry: ForeignServiceEntry) -> frozenset[Any] | None:
    """Return what an entry selects workloads by (`labelled`); ``None`` where it selects none."""
    return labelled(place[0], entry.selector.items()) if entry.selector is not None else None
