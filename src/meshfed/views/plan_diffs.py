"""What a change would do: to the objects that Meshfed writes, and to traffic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from meshfed.api.v1alpha1 import GROUP, OWNER_NAMESPACE_LABEL
from meshfed.istio import gateway_index
from meshfed.istio.names import PEER_AUTHENTICATION
from meshfed.kube.ownership import Ownership
from meshfed.plan import Plan, PlanInputs
from meshfed.views.differences import Differences, LeftAlone, ObjectAction, ObjectChange
from meshfed.views.snapshot import Document, Snapshot
from meshfed.views.traffic import TrafficChange

_WRITTEN_IN = frozenset({"networking.istio.io", "security.istio.io", "route.openshift.io", GROUP})
"""The API groups of what Meshfed writes."""


class PlanDiffView(msgspec.Struct, frozen=True, rename="camel"):
    """What becomes of one mesh. ``against`` says what it is held against: a kubeconfig's context, or the files.

    ``creates``, ``changes`` and ``deletes`` count ``objects``; ``left`` has what is not as it is wanted and stays.
    ``differs`` says whether anything becomes of objects or of traffic.
    """

    mesh: str
    namespace: str
    against: str
    differs: bool
    creates: int
    changes: int
    deletes: int
    traffic: tuple[TrafficChange, ...]
    objects: tuple[ObjectChange, ...]
    left: tuple[LeftAlone, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_diff(
    plans: tuple[Plan, Plan],
    found: Differences,
    traffic: tuple[TrafficChange, ...],
    *,
    namespace: str,
    against: str,
    warnings: Sequence[str] = (),
) -> PlanDiffView:
    """Return all that is to be said of the second of two ``plans`` in the place of the first."""
    mesh = plans[1].mesh or plans[0].mesh
    counts = {action: sum(one.action == action for one in found.changes) for action in ObjectAction}
    return PlanDiffView(
        mesh=mesh.name if mesh is not None else "",
        namespace=namespace,
        against=against,
        differs=bool(found.changes or traffic),
        creates=counts[ObjectAction.CREATE],
        changes=counts[ObjectAction.CHANGE],
        deletes=counts[ObjectAction.DELETE],
        traffic=traffic,
        objects=found.changes,
        left=found.left,
        warnings=tuple(warnings),
    )


def written(snapshot: Snapshot, ownership: Ownership) -> tuple[list[Document], list[Document]]:
    """Return what of a cluster's objects is ours, and what others wrote of the API groups that Meshfed writes."""
    ours: list[Document] = []
    others: list[Document] = []
    for one in snapshot.objects:
        if str(one.get("apiVersion", "")).rpartition("/")[0] in _WRITTEN_IN:
            labels = one["metadata"].get("labels") or {}
            (ours if ownership.labels.items() <= labels.items() else others).append(one)
    return ours, others


def gateways(plan: Plan) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Return which Gateway has which host, which decides about the next plan: no host changes its Gateway."""
    return tuple(
        (index, tuple(host for server in one["spec"]["servers"] for host in server["hosts"]))
        for one in plan.objects
        if one["kind"] == "Gateway" and (index := gateway_index(one["metadata"]["name"])) is not None
    )


def unheard(before: PlanInputs, after: PlanInputs) -> Iterator[str]:
    """Yield from which RemoteMeshes something is to be imported from now on, though nobody knows what they offer."""
    known = {one.spec.remote for one in after.records} | after.offers.keys()
    imported = {one.metadata.name for one in before.remotes if one.spec.import_ is not None}
    for remote in after.remotes:
        name = remote.metadata.name
        if remote.spec.import_ is not None and name not in known and name not in imported:
            yield name


def metrics_port(snapshot: Snapshot) -> int | None:
    """Return the port that the controller in place serves metrics at, 0 for none; ``None`` where nothing says so."""
    for one in snapshot.of_kind("PeerAuthentication"):
        labels = one["metadata"].get("labels") or {}
        if one["metadata"]["name"] == PEER_AUTHENTICATION and labels.get(OWNER_NAMESPACE_LABEL) == snapshot.namespace:
            ports = (one.get("spec") or {}).get("portLevelMtls") or {}
            return next((int(port) for port in ports if str(port).isdecimal()), 0)
    return None
