"""The whole plan at once, for `meshfed plan` and for tests: the same planner, worked until nothing is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from meshfed import istio
from meshfed.api.core import Namespace, Service
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.derive import Input
from meshfed.federation.imports import record_name
from meshfed.federation.ledger import Ledger
from meshfed.federation.withdrawals import Guard
from meshfed.istio.peer_authentications import PeerAuthentication
from meshfed.model.imports import Import
from meshfed.model.meshes import LocalMesh, MeshConfig, Remote
from meshfed.model.offers import Offer
from meshfed.model.reasons import Decision, Reason
from meshfed.model.workloads import Located
from meshfed.plan.endpoint_slices import Backing
from meshfed.plan.foreign_destination_rules import ForeignDestinationRule
from meshfed.plan.foreign_service_entries import ForeignServiceEntry
from meshfed.plan.imports import record_manifest
from meshfed.plan.keys import ExportKey, ImportKey, Key
from meshfed.plan.planner import Planner
from meshfed.plan.values import (
    THIS,
    Applied,
    Outputs,
    Place,
    Published,
    Ref,
    Remarks,
    RemoteConnection,
    Settings,
    StatusUpdate,
)

_CONNECTED: Final = RemoteConnection(
    connected=True,
    synced=True,
    reason=Reason.CONNECTED,
    message="taken to be connected, since it is given what the remote offers",
    sync_reason=Reason.SYNCED,
    sync_message="it is given what the remote offers",
)


class PlanInputs(msgspec.Struct, frozen=True):
    """A cluster's objects, and what remotes offer: what is recorded already, and what is to be added to that.

    ``workloads`` are Pods, and WorkloadEntries that are not ours, ``slices`` EndpointSlices that do not follow from a
    selector. Of other DestinationRules ``rules`` has what matters, of other ServiceEntries ``entries``, and of other
    PeerAuthentications ``peer_authentications``, each under namespace and name. ``gateways`` pairs the number of each
    existing Gateway with its hosts; ``service_exports`` are namespaces and names; ``offers`` is all that a remote
    offers, where that is known. ``pods_listed`` is false where Pods may not be read, and ``None`` where those given
    need not be all there are.
    """

    mesh_config: MeshConfig = MeshConfig()
    federations: tuple[MeshFederation, ...] = ()
    remotes: tuple[RemoteMesh, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    services: tuple[Service, ...] = ()
    service_exports: tuple[tuple[str, str], ...] = ()
    workloads: tuple[tuple[Ref, Located], ...] = ()
    pods_listed: bool | None = None
    slices: tuple[tuple[Place, Backing], ...] = ()
    rules: tuple[tuple[Place, ForeignDestinationRule], ...] = ()
    entries: tuple[tuple[Place, ForeignServiceEntry], ...] = ()
    peer_authentications: tuple[tuple[Place, PeerAuthentication], ...] = ()
    records: tuple[FederatedService, ...] = ()
    gateways: tuple[tuple[int, tuple[str, ...]], ...] = ()
    resolved: dict[str, tuple[str, ...]] = {}
    offers: dict[str, tuple[Offer, ...]] = {}


class Plan(msgspec.Struct, frozen=True):
    """What the controller would have in the cluster, sorted, and what it would say and offer."""

    objects: tuple[istio.Manifest, ...]
    statuses: tuple[StatusUpdate, ...]
    """As they are once all is written, and the remotes of which it is known what they offer are connected."""
    exports: tuple[tuple[Place, Decision, Published | None], ...]
    """Each Service, why it is exported or not, and as what."""
    remarks: Mapping[Place, Remarks]
    """What else there is to say of each Service that is exported."""
    imports: tuple[Import, ...]
    """What is imported, by host, each from those remotes alone that have an address."""
    offered: Mapping[str, tuple[str, ...]]
    """By the name of a RemoteMesh, the hosts that its controller is told of."""
    unresolved: frozenset[str]
    """Host names of remotes whose IPs WorkloadEntries need, and which are not known."""
    mesh: LocalMesh | None
    """This mesh; ``None`` where there is no MeshFederation."""


def drain(planner: Planner) -> dict[Key, Outputs]:
    """Work until nothing is left to do; returns the last outputs of each key that was worked out."""
    outputs: dict[Key, Outputs] = {}
    while turn := planner.take_dirty():
        for key in turn.keys:
            found = planner.reconcile(key)
            if found is not None:
                outputs[key] = found
    return outputs


def feed(planner: Planner, inputs: PlanInputs) -> None:
    """Give the planner everything but the offers that are not recorded yet."""
    planner.mesh_config_changed(inputs.mesh_config)
    for federation in inputs.federations:
        planner.federation_changed(federation.metadata.name, federation)
    for remote in inputs.remotes:
        planner.remote_changed(remote.metadata.name, remote)
    for namespace in inputs.namespaces:
        planner.inputs.namespaces.put(namespace.metadata.name, namespace)
    # In the order in which the API lists them, however they were given: who comes first decides who has which Gateway.
    for service in sorted(inputs.services, key=lambda one: (one.metadata.namespace, one.metadata.name)):
        planner.inputs.services.put((service.metadata.namespace, service.metadata.name), service)
    if inputs.pods_listed is not None:
        planner.inputs.pods_listed.put(THIS, inputs.pods_listed)
    for place in inputs.service_exports:
        planner.service_export_changed(*place, 1)
    for (kind, in_namespace, name), workload in inputs.workloads:
        planner.inputs.workloads.put((kind, in_namespace, name), workload)
    beside: list[tuple[Input[Place, Any], tuple[tuple[Place, Any], ...]]] = [
        (planner.inputs.slices, inputs.slices),
        (planner.inputs.rules, inputs.rules),
        (planner.inputs.entries, inputs.entries),
        (planner.inputs.peer_authentications, inputs.peer_authentications),
    ]
    for into, values in beside:
        for place, value in values:
            into.put(place, value)
    for record in inputs.records:
        planner.offer_changed(record.metadata.name, record)
    for index, hosts in inputs.gateways:
        planner.gateway_observed(index, hosts)
    for name, addresses in inputs.resolved.items():
        planner.resolution_changed(name, addresses)


def plan_all(inputs: PlanInputs, settings: Settings) -> Plan:
    """Work out everything for a cluster that holds ``inputs``."""
    planner = Planner(settings)
    feed(planner, inputs)
    records = {record.metadata.name: record for record in inputs.records}
    # One that is being deleted counts as gone: what is recorded of it goes, and nothing more of it is recorded.
    remotes = {remote.metadata.name: remote for remote in inputs.remotes if not remote.metadata.deletion_timestamp}
    for name, remote in remotes.items():
        # A remote that nothing is imported from is not listened to, and what it offered before is forgotten.
        offers = inputs.offers.get(name) if remote.spec.import_ is not None else ()
        if offers is not None:
            given = [record for record in records.values() if record.spec.remote == name]
            for record in given:
                planner.offer_changed(record.metadata.name, None)
                del records[record.metadata.name]
            for record in _recorded(planner, remote, given, offers, settings.namespace):
                records[record.metadata.name] = record
                planner.offer_changed(record.metadata.name, record)
    outputs = _settled(planner, inputs.offers)
    statuses = tuple(status for key in outputs for status in outputs[key].statuses)
    objects = [manifest for result in outputs.values() for manifest in result.objects]
    if planner.mesh is not None:
        objects += _with_status(planner.mesh, (r for r in records.values() if r.spec.remote in remotes), statuses)
    exports = [
        ((key.namespace, key.name), result.export_decision, result.export)
        for key, result in outputs.items()
        if isinstance(key, ExportKey) and result.export_decision is not None
    ]
    imports = {key.host: result.imported for key, result in outputs.items() if isinstance(key, ImportKey)}
    return Plan(
        objects=tuple(sorted(objects, key=_order)),
        statuses=tuple(sorted(statuses, key=lambda status: (status.kind, status.namespace, status.name))),
        exports=tuple(sorted(exports, key=lambda export: export[0])),
        remarks={
            (key.namespace, key.name): result.remarks
            for key, result in outputs.items()
            if isinstance(key, ExportKey) and result.remarks is not None
        },
        imports=tuple(imported for _, imported in sorted(imports.items()) if imported is not None),
        offered={
            name: tuple(_told(planner, remote, (published for *_, published in exports if published is not None)))
            for name, remote in sorted(planner.remotes.items())
        },
        unresolved=planner.names_to_resolve() - inputs.resolved.keys(),
        mesh=planner.mesh,
    )


def _told(planner: Planner, remote: Remote, exports: Iterable[Published]) -> list[str]:
    """Return the hosts that a remote's controller is told of: what all that have its identity may see."""
    callers = set(planner.remotes_with_identity(remote.identity))
    return sorted(one.offer.host for one in exports if one.audience is None or callers <= one.audience)


def _settled(planner: Planner, heard: Iterable[str]) -> dict[Key, Outputs]:
    """Return what comes of all keys once that is written, and the remotes that were ``heard`` are connected."""
    for remote in heard:
        planner.connection_changed(remote, _CONNECTED)
    outputs = drain(planner)
    for key, result in outputs.items():
        if result.objects:
            planner.applied_changed(key, Applied("applied"))
    return outputs | drain(planner)


def _recorded(
    planner: Planner, remote: RemoteMesh, given: Iterable[FederatedService], offers: Iterable[Offer], namespace: str
) -> list[FederatedService]:
    """Return the FederatedServices of a remote once it has offered ``offers``, all at once and after all others."""
    ledger = Ledger(
        remote.metadata.name,
        trust_domain=remote.spec.trust_domain,
        guard=Guard(max_percent=100),
        limit=remote.spec.import_.limit if remote.spec.import_ is not None else 0,
        judge=planner.judge,
    )
    ledger.remember(record.spec for record in given)
    hosts = sorted(offers, key=lambda offer: offer.host)
    ledger.update(hosts, complete=True, now=0.0, stamp="", moment="")
    specs = [spec for offer in hosts if (spec := ledger.desired(offer.host)) is not None]
    return [
        msgspec.convert(
            {"metadata": {"name": record_name(spec.host, spec.remote), "namespace": namespace}, "spec": spec},
            FederatedService,
            from_attributes=True,
        )
        for spec in specs
    ]


def _with_status(
    mesh: LocalMesh, records: Iterable[FederatedService], statuses: Iterable[StatusUpdate]
) -> list[istio.Manifest]:
    """Return the FederatedServices with what was decided about them; whether it is applied, nobody knows offline."""
    decided: Mapping[str, StatusUpdate] = {
        status.name: status for status in statuses if status.kind == "FederatedService"
    }
    manifests = []
    for record in records:
        update = decided[record.metadata.name]
        accepted: list[Any] = msgspec.to_builtins(update.conditions[:1])
        status: dict[str, Any] = {"conditions": accepted}
        if update.fields["importedAs"]:
            status |= msgspec.to_builtins(update.fields)
        manifests.append(record_manifest(mesh, record.spec) | {"status": status})
    return manifests


def _order(manifest: istio.Manifest) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]
