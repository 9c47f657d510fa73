"""What becomes of imported hosts when a RemoteMesh goes: the plan with it, and the plan without."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from meshfed.api.core import Pod, Service
from meshfed.model.installation import MESH_CONFIG
from meshfed.model.names import ServiceHost
from meshfed.plan import Plan
from meshfed.plan.workloads import of_pod
from meshfed.views.exports import planned
from meshfed.views.links import find_remote
from meshfed.views.snapshot import Document, Snapshot


class HostAfter(StrEnum):
    """What is left of a host, the worst first."""

    GONE = "Gone"
    EMPTY = "Empty"
    SERVED = "Served"


AFTER: Final[dict[HostAfter, str]] = {
    HostAfter.GONE: "nothing here has the host any more",
    HostAfter.EMPTY: "the local Service stays, and loses its last endpoint",
    HostAfter.SERVED: "others serve it",
}
"""What each means."""


class UnlinkedHostView(msgspec.Struct, frozen=True, rename="camel"):
    """A host that a remote serves in this mesh, and who serves it without that remote."""

    mesh: str
    remote: str
    host: str
    after: HostAfter
    served_by: tuple[str, ...]


class Unlinking(msgspec.Struct, frozen=True):
    """What goes with a RemoteMesh: ``objects`` counts what is deleted of Istio's and our own kinds.

    ``exports`` counts the hosts that the remote is told of, ``problems`` names objects that cannot be understood, so
    that nothing is known of what follows from them.
    """

    hosts: tuple[UnlinkedHostView, ...]
    objects: int
    exports: int
    problems: tuple[str, ...] = ()


def unlinking(snapshot: Snapshot, name: str, *, mesh_config_map: str = MESH_CONFIG) -> Unlinking:
    """Return what goes with a RemoteMesh; the hosts that fare worst come first."""
    remote = find_remote(snapshot, name)
    others = tuple(one for one in snapshot.objects if one is not remote)
    before, problems = planned(snapshot, mesh_config_map=mesh_config_map)
    after, _ = planned(msgspec.structs.replace(snapshot, objects=others), mesh_config_map=mesh_config_map)
    left = _imported(after)
    locals_, mesh = _Locals(snapshot, before), snapshot.mesh
    hosts = [
        _view(mesh, name, host, left.get(host, ()), locals_)
        for host, remotes in _imported(before).items()
        if name in remotes
    ]
    return Unlinking(
        hosts=tuple(sorted(hosts, key=lambda one: (list(HostAfter).index(one.after), one.host))),
        objects=len(_keys(before) - _keys(after)),
        exports=len(before.offered.get(name, ())),
        problems=problems,
    )


def _view(mesh: str, remote: str, host: str, others: tuple[str, ...], locals_: _Locals) -> UnlinkedHostView:
    service, ready = locals_.behind(host)
    serving = [*([f"Service {service}"] if service and ready else ()), *(f"RemoteMesh {one}" for one in others)]
    after = HostAfter.SERVED if serving else HostAfter.EMPTY if service else HostAfter.GONE
    return UnlinkedHostView(mesh, remote, host, after, tuple(serving))


def _imported(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return each imported host with the remotes that serve it, sorted."""
    found: dict[str, set[str]] = {}
    for one in plan.objects:
        if one["kind"] == "FederatedService" and one["status"]["conditions"][0]["status"] == "True":
            found.setdefault(one["status"]["importedAs"], set()).add(one["spec"]["remote"])
    return {host: tuple(sorted(remotes)) for host, remotes in found.items()}


def _keys(plan: Plan) -> set[tuple[str, str, str]]:
    return {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in plan.objects}


class _Locals:
    """The Services of this mesh, and whether pods that are ready are behind each."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self._domain = plan.mesh.cluster_domain if plan.mesh is not None else ""
        self._services = {
            (one.metadata.namespace, one.metadata.name): one for one in _typed(snapshot.of_kind("Service"), Service)
        }
        self._pods: dict[str, list[frozenset[tuple[str, str]]]] = {}
        for pod in _typed(snapshot.of_kind("Pod"), Pod):
            workload = of_pod(pod).workload
            if workload.ready:
                self._pods.setdefault(pod.metadata.namespace, []).append(frozenset(workload.labels))
        self._unseen = "Pod" in snapshot.unread

    def behind(self, host: str) -> tuple[str, bool]:
        """Return the Service of a host, as namespace/name or empty, and whether anything is behind it.

        Where that cannot be seen, as without a selector, or where Pods may not be read, it counts as served.
        """
        parsed = ServiceHost.parse(host, self._domain)
        place = (parsed.namespace, parsed.name) if parsed is not None else ("", "")
        service = self._services.get(place)
        if service is None:
            return "", False
        selector = (service.spec.selector or {}).items()
        ready = any(selector <= labels for labels in self._pods.get(place[0], ()))
        return "/".join(place), ready or not selector or self._unseen


def _typed(documents: Iterator[Document], type_: type[Any]) -> Iterator[Any]:
    for document in documents:
        try:
            yield msgspec.convert(document, type_)
        except msgspec.ValidationError:
            continue  # nothing is known to be behind it
