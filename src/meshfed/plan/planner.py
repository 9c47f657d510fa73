"""The planner: from the current Kubernetes objects to what should exist, key by key.

It holds the inputs, knows which keys each of them touches, and works keys out on request. No I/O, no clock, no
randomness: `meshfed plan` and the controller call the same code, and the same inputs give the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from meshfed import istio
from meshfed.api.core import Namespace, Service
from meshfed.api.v1alpha1 import MAX_LISTED, FederatedService, FederatedServiceSpec, MeshFederation, RemoteMesh
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh, Remote
from meshfed.model.reasons import Decision, Reason
from meshfed.model.workloads import Workload
from meshfed.plan import meshes, statuses
from meshfed.plan.exports import Exports, Place
from meshfed.plan.imports import Imports
from meshfed.plan.ingress import Ingress
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
)
from meshfed.plan.local_services import LocalServices
from meshfed.plan.remotes import Remotes
from meshfed.plan.surroundings import Surroundings
from meshfed.plan.values import Applied, Connection, Outputs, Settings, StatusUpdate
from meshfed.plan.workloads import Workloads


class Planner:
    """Says what should exist in one cluster. Not for several threads; every call returns at once.

    ``on_dirty`` is called with every key that may have changed, as soon as that is known; the same keys are also
    kept for ``take_dirty``.
    """

    def __init__(self, settings: Settings, *, on_dirty: Callable[[Key], None] | None = None) -> None:
        self._settings = settings
        self._on_dirty = on_dirty
        self._dirty = DirtyKeys()
        self._federations: dict[str, MeshFederation] = {}
        self._mesh: LocalMesh | None = None
        self._services: dict[Place, Service] = {}
        self._remotes = Remotes(self._mark)
        self._locals = LocalServices(self._services, self._local_changed)
        self._ingress = Ingress(self._services, self._locals.selectors, lambda: self._mark(MeshStatusKey()))
        self._workloads = Workloads(
            self._locals.selectors,
            self._serving_changed,
            lambda namespace, workload, there: self._ingress.workload_changed(namespace, workload, there=there),
        )
        self._exports = Exports(self._mark, self._services, self._workloads.serving)
        self._surroundings = Surroundings(self._locals, self._workloads.serving)
        self._imports = Imports(self._mark, self._surroundings, self._remotes)
        self._connections: dict[str, Connection] = {}
        self._applied: dict[Key, Applied] = {}
        self._failed: dict[Key, Applied] = {}
        self._unrecorded: dict[str, dict[str, Applied]] = {}

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        if self._on_dirty is not None:
            self._on_dirty(key)

    # --- inputs: each takes the object as it stands now, or None where it is gone -----------------

    def federation_changed(self, name: str, federation: MeshFederation | None) -> None:
        """Take in a MeshFederation; the oldest one of the namespace is in force."""
        before = self._federations.pop(name, None)
        if federation is not None and not federation.metadata.deletion_timestamp:
            self._federations[name] = federation
            if before is not None and _head(before) == _head(federation):
                return
        self._mark(MeshStatusKey())
        in_force = self._in_force()
        mesh = meshes.local_mesh(in_force, self._settings) if in_force is not None else None
        export = in_force.spec.export if in_force is not None else None
        moved = mesh != self._mesh
        self._mesh = mesh
        self._exports.configure(mesh, export)
        self._ingress.configure(mesh, self._workloads.sorts())
        self._surroundings.configure(mesh)
        self._imports.configure(mesh)
        if moved:
            for remote in self._remotes.names():
                self._mark(RemoteKey(remote))
                self._mark(RemoteStatusKey(remote))

    def _in_force(self) -> MeshFederation | None:
        return min(
            self._federations.values(),
            key=lambda federation: (federation.metadata.creation_timestamp, federation.metadata.name),
            default=None,
        )

    def remote_changed(self, name: str, remote: RemoteMesh | None) -> None:
        """Take in a RemoteMesh."""
        if self._remotes.change(name, remote):
            self._imports.remote_changed(name)

    def namespace_changed(self, name: str, namespace: Namespace | None) -> None:
        """Take in a Namespace."""
        self._exports.namespace_changed(name, namespace)

    def service_changed(self, namespace: str, name: str, service: Service | None) -> None:
        """Take in a Service."""
        place = (namespace, name)
        if service is None:
            self._services.pop(place, None)
        else:
            self._services[place] = service
        self._locals.service_changed(place)
        self._workloads.service_changed(place)
        self._ingress.service_changed(place)
        self._exports.service_changed(place)

    def workload_changed(self, kind: str, namespace: str, name: str, workload: Workload | None) -> None:
        """Take in a Pod, or a WorkloadEntry that is not ours."""
        self._workloads.change((kind, namespace, name), workload)

    def pods_listed(self) -> None:
        """Take note that all Pods there are have been given."""
        self._ingress.pods_listed()

    def destination_rule_changed(self, namespace: str, name: str, host: str) -> None:
        """Take in the host that a DestinationRule which is not ours is for; empty where it is gone."""
        for pattern in self._surroundings.overrides.change((namespace, name), host):
            self._imports.surroundings_changed(pattern)

    def service_entry_changed(self, namespace: str, name: str, selector: Mapping[str, str]) -> None:
        """Take in what a ServiceEntry that is not ours selects; nothing where it selects nothing, or is gone."""
        self._locals.service_entry_changed(namespace, name, selector)

    def _local_changed(self, place: Place) -> None:
        self._imports.local_changed(self._locals.host(place))

    def _serving_changed(self, place: Place) -> None:
        self._exports.serving_changed(place)
        self._imports.surroundings_changed(self._locals.host(place))

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

    def connection_changed(self, remote: str, connection: Connection | None) -> None:
        """Take in how the discovery of ``remote`` stands."""
        if connection == self._connections.get(remote):
            return
        if connection is None:
            del self._connections[remote]
        else:
            self._connections[remote] = connection
        self._mark(RemoteStatusKey(remote))

    def applied_changed(self, key: Key, applied: Applied | None) -> None:
        """Take in the engine's verdict on the objects of ``key``; ``None`` where it has none any more."""
        if applied == self._applied.get(key):
            return
        failed_before = self._failed.pop(key, None)
        if applied is None:
            del self._applied[key]
        else:
            self._applied[key] = applied
            if applied.state == "failed":
                self._failed[key] = applied
        match key:
            case ImportKey(host=host):
                for record in self._imports.records(host):
                    self._mark(OfferKey(record))
                    offer = self._imports.offer(record)
                    if offer is not None and failed_before != self._failed.get(key):
                        self._mark(RemoteStatusKey(offer.spec.remote))
            case RemoteKey(name=name):
                self._mark(RemoteStatusKey(name))
            case GatewayKey() | MeshKey():
                self._mark(MeshStatusKey())
                if isinstance(key, GatewayKey) and key not in self._dirty and applied == Applied("applied"):
                    self._exports.gateway_in_place(key.index)
            case ExportKey() if failed_before != self._failed.get(key):
                self._mark(MeshStatusKey())
            case _:
                pass

    def record_changed(self, remote: str, host: str, applied: Applied) -> None:
        """Take in the engine's verdict on the FederatedService for what ``remote`` offers under ``host``."""
        hosts = self._unrecorded.setdefault(remote, {})
        before = hosts.pop(host, None)
        after = applied if applied.state == "failed" else None
        if after is not None:
            hosts[host] = after
        if not hosts:
            del self._unrecorded[remote]
        if before != after:
            self._mark(RemoteStatusKey(remote))

    # --- outputs ----------------------------------------------------------------------------------

    def take_dirty(self) -> list[Key]:
        """Return the keys to work out next, sorted, and forget them; empty where nothing is left to do.

        All are of one kind: call again once they are worked out, so that what decides comes before what reports.
        """
        return self._dirty.take()

    def reconcile(self, key: Key) -> Outputs:
        """Work one key out from current state. May mark other keys dirty."""
        match key:
            case ExportKey(namespace=namespace, name=name):
                return self._exports.reconcile((namespace, name))
            case ImportKey(host=host):
                return Outputs(objects=self._imports.reconcile(host))
            case MeshKey():
                return Outputs(objects=self._mesh_objects())
            case RemoteKey(name=name):
                return Outputs(objects=self._discovery(name))
            case GatewayKey(index=index):
                return self._exports.gateway(index)
            case OfferKey(name=name):
                return Outputs(statuses=self._offer_status(name))
            case RemoteStatusKey(name=name):
                return Outputs(statuses=self._remote_status(name))
            case MeshStatusKey():
                return Outputs(statuses=self._mesh_status())

    @property
    def mesh(self) -> LocalMesh | None:
        """This mesh as the MeshFederation in force describes it; ``None`` where there is none."""
        return self._mesh

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
        if self._mesh is None:
            return ()
        return (
            istio.peer_authentication(self._mesh),
            istio.authorization_policy(self._mesh, self._remotes.identities()),
            *self._exports.discovery_objects(),
        )

    def _discovery(self, name: str) -> tuple[istio.Manifest, ...]:
        """Return how a remote's discovery service is reached; nothing for a remote that is this mesh itself."""
        peer = self._remotes.get(name)
        if self._mesh is None or peer is None or self._remotes.is_ourselves(self._mesh, name) is not None:
            return ()
        objects = (istio.discovery_entry(self._mesh, peer.remote), istio.discovery_rule(self._mesh, peer.remote))
        return tuple(manifest for manifest in objects if manifest is not None)

    # --- statuses ---------------------------------------------------------------------------------

    def _offer_status(self, record: str) -> tuple[StatusUpdate, ...]:
        offer = self._imports.offer(record)
        if offer is None or self._mesh is None:
            return ()
        decision, host = self._imports.decision(record)
        outcome = self._imports.outcome(host)
        objects = outcome.objects if decision.accepted else ()
        unresolved = ""
        if decision.accepted and offer.spec.remote in outcome.unresolved:
            unresolved = (
                f"no address of RemoteMesh {offer.spec.remote} is known: it has no `addresses`, or DNS does not "
                "answer for them yet"
            )
        conditions = statuses.offer_conditions(
            decision,
            problem=offer.spec.problem,
            objects=objects,
            applied=self._applied.get(ImportKey(host)),
            unresolved=unresolved,
        )
        return (
            StatusUpdate(
                kind="FederatedService",
                namespace=offer.metadata.namespace or self._settings.namespace,
                name=record,
                observed_generation=offer.metadata.generation,
                conditions=conditions,
                fields={"importedAs": host, "objects": objects[:MAX_LISTED]},
            ),
        )

    def _remote_status(self, name: str) -> tuple[StatusUpdate, ...]:
        mesh, peer = self._remotes.object(name), self._remotes.get(name)
        if mesh is None or peer is None:
            return ()
        connection = self._connections.get(name, Connection())
        offered = self._imports.offered(name) + connection.denied_unrecorded
        imported = self._imports.accepted(name)
        if self._mesh is None:
            conditions = statuses.no_mesh_conditions(self._settings.namespace)
        else:
            conditions = statuses.remote_conditions(
                statuses.RemoteFacts(
                    name=name,
                    connection=connection,
                    conflict=self._conflict(self._mesh, name),
                    identity=str(peer.remote.identity),
                    shares_identity_with=tuple(self._remotes.shares_identity_with(self._mesh, name)),
                    shadowed_by=meshes.shadowed_by(self._mesh, peer.remote),
                    reachable=bool(peer.remote.addresses or peer.remote.discovery_address),
                    publish_only=peer.rules is None,
                    offered=offered,
                    imported=imported,
                    applied=self._applied.get(RemoteKey(name)),
                    failed=self._failed_imports(name),
                    unrecorded=self._unrecorded.get(name, {}),
                )
            )
        return (
            StatusUpdate(
                kind="RemoteMesh",
                namespace=mesh.metadata.namespace or self._settings.namespace,
                name=name,
                observed_generation=mesh.metadata.generation,
                conditions=conditions,
                fields={
                    "offeredServices": offered,
                    "importedServices": imported,
                    "deniedServices": offered - imported,
                    "heldServices": connection.held,
                    "heldSince": connection.held_since,
                    "lastConnected": connection.last_connected,
                    "lastSync": connection.last_sync,
                    "dialect": connection.dialect,
                    "identity": connection.identity,
                },
            ),
        )

    def _conflict(self, mesh: LocalMesh, name: str) -> Decision | None:
        ourselves = self._remotes.is_ourselves(mesh, name)
        if ourselves is not None:
            return ourselves
        older = self._remotes.shares_network_with(name)
        if older is None:
            return None
        return Decision(
            accepted=False,
            reason=Reason.NAME_CONFLICT,
            message=f"RemoteMesh {older} is older and has the same `network`; every mesh needs a network of its own. "
            "Imports are kept",
        )

    def _failed_imports(self, remote: str) -> dict[str, Applied]:
        failed: dict[str, Applied] = {}
        for key, applied in self._failed.items():
            if isinstance(key, ImportKey):
                imported = self._imports.outcome(key.host).imported
                if imported is not None and any(backend.remote.name == remote for backend in imported.backends):
                    failed[key.host] = applied
        return failed

    def _mesh_status(self) -> tuple[StatusUpdate, ...]:
        in_force = self._in_force()
        if in_force is None:
            return ()
        return tuple(
            self._duplicate_status(federation, in_force) if federation is not in_force else self._status_of(in_force)
            for _, federation in sorted(self._federations.items())
        )

    def _duplicate_status(self, federation: MeshFederation, in_force: MeshFederation) -> StatusUpdate:
        return StatusUpdate(
            kind="MeshFederation",
            namespace=federation.metadata.namespace or self._settings.namespace,
            name=federation.metadata.name,
            observed_generation=federation.metadata.generation,
            conditions=statuses.duplicate_conditions(in_force.metadata.name),
            fields={"exportedServices": 0, "importedServices": 0, "remoteMeshes": 0},
        )

    def _status_of(self, federation: MeshFederation) -> StatusUpdate:
        left_out = self._exports.left_out()
        gateways: list[Key] = [GatewayKey(index) for index in self._exports.gateways()]
        facts = statuses.MeshFacts(
            exports_anything=federation.spec.export is not None,
            exported=self._exports.count,
            imported=self._imports.count,
            remotes=len(self._remotes),
            names=self._exports.names(),
            invalid="".join(map(self._exports.why, left_out.get(Reason.INVALID, ())[:1])),
            left_out=left_out,
            ingress=self._ingress.trouble(self._exports.ports),
            gateways=[self._applied.get(key) for key in (*gateways, MeshKey())],
            failed_exports={
                f"{key.namespace}/{key.name}": applied
                for key, applied in self._failed.items()
                if isinstance(key, ExportKey)
            },
        )
        return StatusUpdate(
            kind="MeshFederation",
            namespace=federation.metadata.namespace or self._settings.namespace,
            name=federation.metadata.name,
            observed_generation=federation.metadata.generation,
            conditions=statuses.mesh_conditions(facts),
            fields={
                "exportedServices": self._exports.count,
                "importedServices": self._imports.count,
                "remoteMeshes": len(self._remotes),
            },
        )


def _head(federation: MeshFederation) -> tuple[object, ...]:
    """What of a MeshFederation decides anything; its status, which we write ourselves, is not part of it."""
    meta = federation.metadata
    return (meta.uid, meta.generation, meta.creation_timestamp, federation.spec)
