"""The planner: from the current Kubernetes objects to what should exist, key by key.

It holds the inputs, knows which keys each of them touches, and works keys out on request. No I/O, no clock, no
randomness: `meshfed plan` and the controller call the same code, and the same inputs give the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from meshfed import istio
from meshfed.api.core import Namespace, Service
from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec, MeshFederation, RemoteMesh
from meshfed.derive import Graph
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh, Remote
from meshfed.model.reasons import Decision
from meshfed.model.workloads import Workload
from meshfed.plan.exports import Exports
from meshfed.plan.failing import Failed, Failing, Subject
from meshfed.plan.federations import Federations
from meshfed.plan.foreign_service_entries import ForeignServiceEntries, ForeignServiceEntry
from meshfed.plan.imports import Imports
from meshfed.plan.ingress import Ingress
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.keys import (
    DirtyKeys,
    ExportKey,
    GatewayKey,
    ImportKey,
    Key,
    MeshKey,
    MeshStatusKey,
    OfferKey,
    RemoteKey,
    RemoteStatusKey,
    Turn,
    mark_origin,
)
from meshfed.plan.local_services import LocalServices
from meshfed.plan.remotes import Remotes
from meshfed.plan.reporting import Reporting
from meshfed.plan.surroundings import Surroundings
from meshfed.plan.values import THIS, Applied, Outputs, Place, Ref, RemoteConnection, Settings

DERIVED: Final = 256
"""The most values that are derived before everything else the process has to do has its turn: some ten milliseconds."""


class Planner:
    """Says what should exist in one cluster. Not for several threads; every call returns at once.

    ``on_dirty`` is called as soon as there is anything for ``take_dirty``. ``on_failed`` hears of what
    our own code fails on: what follows from it is unknown, until it can be worked out `again`. Without it such an
    exception goes to the caller.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_dirty: Callable[[], None] = lambda: None,
        on_failed: Failed | None = None,
    ) -> None:
        self._on_dirty = on_dirty
        self._dirty = DirtyKeys()
        graph = self._graph = Graph(marked=on_dirty)
        self._failing = Failing(graph, settings.namespace, on_failed) if on_failed is not None else None
        if self._failing is not None:
            graph.failed = self._failing.heard
        self._federations = Federations(settings)
        self._inputs = ClusterInputs(graph)
        self._remotes = Remotes(graph, self._mark)
        rivals = ForeignServiceEntries(graph, self._inputs.entries)
        locals_ = LocalServices(graph, self._inputs, rivals)
        self._ingress = Ingress(graph, self._inputs, locals_)
        self._exports = Exports(
            graph, self._mark, inputs=self._inputs, serving=locals_.serving, gateways=self._ingress.namespaces
        )
        self._imports = Imports(
            graph,
            self._mark,
            meshes=self._inputs.meshes,
            surroundings=Surroundings(graph, self._inputs, locals_, rivals),
            remotes=self._remotes,
            settled=self._import_settled,
            is_dirty=self._dirty.__contains__,
        )
        self._reporting = Reporting(
            settings,
            self._mark,
            federations=self._federations,
            remotes=self._remotes,
            exports=self._exports,
            imports=self._imports,
            ingress=self._ingress,
        )

    def _mark(self, key: Key, flow: str = "") -> None:
        self._dirty.add(key, flow)
        self._on_dirty()

    # --- inputs: each takes the object as it stands now, or None where it is gone -----------------

    def federation_changed(self, name: str, federation: MeshFederation | None) -> None:
        """Take in a MeshFederation; the oldest one of the namespace is in force."""
        mesh_before = self.mesh
        if not self._federations.change(name, federation):
            return
        self._mark(MeshStatusKey())
        mesh, in_force = self.mesh, self._federations.in_force
        self._exports.configure(mesh, in_force.spec.export if in_force is not None else None)
        self._imports.configure(mesh)
        self._inputs.meshes.put(THIS, mesh)
        if mesh != mesh_before:
            for remote in self._remotes.names():
                self._mark(RemoteKey(remote))
                self._mark(RemoteStatusKey(remote))

    def remote_changed(self, name: str, remote: RemoteMesh | None) -> None:
        """Take in a RemoteMesh."""
        self._remotes.change(name, remote)

    def namespace_changed(self, name: str, namespace: Namespace | None) -> None:
        """Take in a Namespace."""
        self._inputs.namespaces.put(name, namespace)

    def service_changed(self, namespace: str, name: str, service: Service | None) -> None:
        """Take in a Service."""
        self._inputs.services.put((namespace, name), service)

    def workload_changed(self, kind: str, namespace: str, name: str, workload: Workload | None) -> None:
        """Take in a Pod, or a WorkloadEntry that is not ours."""
        self._inputs.workloads.put((kind, namespace, name), workload)

    def pods_listed(self) -> None:
        """Take note that all Pods there are have been given."""
        self._inputs.pods_listed.put(THIS, value=True)

    def destination_rule_changed(self, namespace: str, name: str, host: str) -> None:
        """Take in the host that a DestinationRule which is not ours is for; empty where it is gone."""
        self._inputs.rules.put((namespace, name), host or None)

    def service_entry_changed(self, namespace: str, name: str, entry: ForeignServiceEntry | None) -> None:
        """Take in a ServiceEntry that is not ours."""
        self._inputs.entries.put((namespace, name), entry)

    def _import_settled(self, host: str) -> None:
        self._reporting.import_changed(host)

    def service_export_changed(self, namespace: str, name: str, generation: int | None) -> None:
        """Take in a ServiceExport of the multi-cluster services API, by its generation; ``None``: it is gone."""
        self._exports.service_export_changed((namespace, name), generation)

    def offer_changed(self, name: str, offer: FederatedService | None) -> None:
        """Take in a FederatedService, by its object name."""
        self._imports.offer_changed(name, offer)

    def resolution_changed(self, host_name: str, addresses: tuple[str, ...]) -> None:
        """Take in what DNS says of a remote's address; an empty answer keeps the last one."""
        self._imports.resolution_changed(host_name, addresses)

    def gateway_observed(self, index: int, hosts: Sequence[str]) -> None:
        """Take in the hosts of a Gateway object that exists already: history, given before the first key is taken."""
        self._exports.gateway_observed(index, hosts)

    def connection_changed(self, remote: str, connection: RemoteConnection | None) -> None:
        """Take in how the discovery of ``remote`` stands."""
        self._reporting.connection_changed(remote, connection)

    def applied_changed(self, key: Key, applied: Applied | None) -> None:
        """Take in the engine's verdict on the objects of ``key``; ``None`` where it has none any more."""
        news = self._reporting.applied_changed(key, applied)
        if news and isinstance(key, GatewayKey) and key not in self._dirty and applied == Applied("applied"):
            self._exports.gateway_in_place(key.index)

    def record_changed(self, remote: str, host: str, applied: Applied) -> None:
        """Take in the engine's verdict on the FederatedService for what ``remote`` offers under ``host``."""
        self._reporting.record_changed(remote, host, applied)

    # --- what is unknown --------------------------------------------------------------------------

    def unknown(self, ref: Ref, reason: str, hosts: Sequence[str] = ()) -> None:
        """Take note of an object of which nobody can say what it is; what follows from it is unknown for ``reason``.

        Of a FederatedService ``hosts`` are those that it may be imported as.
        """
        kind, namespace, name = ref
        match kind:
            case "RemoteMesh":
                self._remotes.unknown(name, reason)
            case "FederatedService":
                self._imports.offer_unknown(name, reason, hosts)
            case "Service":
                self._inputs.services.unknown((namespace, name), reason)
            case "ServiceExport":
                self._exports.service_exports.unknown((namespace, name), reason)
            case "Namespace":
                self._inputs.namespaces.unknown(name, reason)
            case "Pod" | "WorkloadEntry":
                self._inputs.workloads.unknown(ref, reason)
            case "DestinationRule":
                self._inputs.rules.unknown((namespace, name), reason)
            case "ServiceEntry":
                self._inputs.entries.unknown((namespace, name), reason)
            case _:
                pass

    def known(self, ref: Ref) -> None:
        """Take note that an object is what was given since it was ``unknown``, or gone."""
        kind, namespace, name = ref
        match kind:
            case "RemoteMesh":
                self._remotes.known(name)
            case "FederatedService":
                self._imports.offer_known(name)
            case "Service":
                self._inputs.services.clear((namespace, name))
            case "ServiceExport":
                self._exports.service_exports.clear((namespace, name))
            case "Namespace":
                self._inputs.namespaces.clear(name)
            case "Pod" | "WorkloadEntry":
                self._inputs.workloads.clear(ref)
            case "DestinationRule":
                self._inputs.rules.clear((namespace, name))
            case "ServiceEntry":
                self._inputs.entries.clear((namespace, name))
            case _:
                pass

    def why_unknown(self, key: Key) -> str:
        """Return why nobody can say what a key comes to; empty where somebody can."""
        match key:
            case ExportKey(namespace=namespace, name=name):
                return self._exports.why_unknown((namespace, name))
            case ImportKey(host=host):
                return self._imports.why_unknown(host)
            case MeshKey():
                return self._remotes.why_unknown()
            case RemoteKey(name=name):
                return self._remotes.why_unknown(name)
            case OfferKey(name=name):
                return self._imports.why_offer_unknown(name)
            case _:
                return ""

    def why_anything_is_unknown(self) -> str:
        """Return why something of all there is is unknown; empty where nothing is."""
        return next((node.value.reason for node in self._graph.unknown), "")

    def unknown_exports(self) -> list[ExportKey]:
        """Return the Services of which nobody can say whether they are exported."""
        nodes = (node for node in self._graph.unknown if node.collection.name == Exports.EXPORT)
        return [ExportKey(*node.key) for node in nodes]

    def learned(self) -> bool:
        """Return whether something came to be known, since the last call, that was unknown."""
        return self._graph.learned()

    def is_worked_out(self, key: Key) -> bool:
        """Whether a key was worked out since what it comes to is another."""
        match key:
            case ExportKey(namespace=namespace, name=name):
                changed = self._exports.is_to_be_told((namespace, name))
            case ImportKey(host=host):
                changed = self._imports.is_to_be_told(host)
            case _:
                changed = False
        return not changed and key not in self._dirty

    # --- outputs ----------------------------------------------------------------------------------

    def take_dirty(self) -> Turn | None:
        """Return the keys to work out next, and forget them; ``None`` where nothing is left to do.

        All are of one kind, and there may be none: call again once they are worked out, so that what decides comes
        before what reports.
        """
        if not self._graph.is_fresh:
            if not self._graph.work(DERIVED):
                # What a key goes by would be a mixture of before and after: it may miss what is there in both.
                return Turn("", [])
            self._tell()
        turn = self._dirty.take()
        self._imports.flow = turn.flow if turn is not None else ""
        return turn

    def _tell(self) -> None:
        """Mark the keys of whatever came out otherwise."""
        for change in self._graph.outputs():
            for flow in map(str, change.flows):
                if change.collection == Exports.EXPORT:
                    self._exports.changed(change.key, change.value, flow)
                elif change.collection in (Ingress.NAMESPACES, Ingress.TROUBLE):
                    self._mark(MeshStatusKey(), flow)
                else:
                    self._imports.changed(change.collection, change.key, flow)

    @property
    def waiting(self) -> int:
        """How many keys are to be worked out."""
        return len(self._dirty)

    def look_again(self, key: Key, flow: str) -> None:
        """Have a key worked out again that was taken in the turn of ``flow`` and not worked out."""
        self._mark(key, flow)

    def again(self, subject: Subject) -> None:
        """Have what our own code failed on worked out again."""
        if self._failing is not None:
            self._failing.again(subject)

    def reconcile(self, key: Key) -> Outputs | None:
        """Work one key out from current state; ``None`` where it is unknown. May mark other keys dirty."""
        outputs = self._work_out(key)
        for manifest in outputs.objects if outputs is not None else ():
            mark_origin(manifest, key)
        return outputs

    def _work_out(self, key: Key) -> Outputs | None:
        match key:
            case ExportKey(namespace=namespace, name=name):
                return self._exports.reconcile((namespace, name))
            case ImportKey(host=host):
                return self._imports.reconcile(host)
            case MeshKey():
                return Outputs(objects=self._mesh_objects()) if not self._remotes.why_unknown() else None
            case RemoteKey(name=name):
                return Outputs(objects=self._discovery(name)) if not self._remotes.why_unknown(name) else None
            case GatewayKey(index=index):
                return self._exports.gateway(index)
            case OfferKey(name=name):
                return Outputs(statuses=self._reporting.offer(name))
            case RemoteStatusKey(name=name):
                return Outputs(statuses=self._reporting.remote(name))
            case MeshStatusKey():
                return Outputs(statuses=self._reporting.mesh())

    @property
    def mesh(self) -> LocalMesh | None:
        """This mesh as the MeshFederation in force describes it; ``None`` where there is none."""
        return self._federations.mesh

    @property
    def remotes(self) -> dict[str, Remote]:
        """The remotes that are configured, by name."""
        peers = {name: self._remotes.get(name) for name in self._remotes.names()}
        return {name: peer.remote for name, peer in peers.items() if peer is not None}

    def judge(self, spec: FederatedServiceSpec) -> Decision:
        """Return what the import rules of its remote say of an offer, recorded or not; the limit is not theirs."""
        return self._imports.judge(spec)

    def is_listed(self, place: Place) -> bool:
        """Whether a Gateway lists a Service, or did when this began."""
        return self._exports.is_listed(place)

    def names_to_resolve(self) -> frozenset[str]:
        """Return the remote addresses that are host names and whose IPs some WorkloadEntry needs."""
        return self._imports.names_to_resolve()

    def remotes_with_identity(self, identity: SpiffeID) -> tuple[str, ...]:
        """Return the names of the RemoteMeshes whose controller has this identity, sorted."""
        return self._remotes.with_identity(identity)

    def _mesh_objects(self) -> tuple[istio.Manifest, ...]:
        if self.mesh is None:
            return ()
        return (
            istio.peer_authentication(self.mesh),
            istio.authorization_policy(self.mesh, self._remotes.identities()),
            *self._exports.discovery_objects(),
        )

    def _discovery(self, name: str) -> tuple[istio.Manifest, ...]:
        """Return how a remote's discovery service is reached; nothing for a remote that is this mesh itself."""
        peer = self._remotes.get(name)
        if self.mesh is None or peer is None or self._remotes.is_ourselves(self.mesh, name) is not None:
            return ()
        objects = (istio.discovery_entry(self.mesh, peer.remote), istio.discovery_rule(self.mesh, peer.remote))
        return tuple(manifest for manifest in objects if manifest is not None)
