"""What is reported: how discovery stands and what the engine made of each key, and the statuses that follow from it.

Everything else in the plan works out what should exist. What came of that is taken in here, and nothing that should
exist depends on it. The statuses of meshes are derived; of FederatedServices there are thousands, and theirs are worked
out for who writes them.
"""

from __future__ import annotations

from typing import ClassVar, Final

from meshfed import istio
from meshfed.api.meta import RefusedCount
from meshfed.api.v1alpha1 import FederatedService, MeshFederation
from meshfed.derive import Context, Derived, Graph, Input
from meshfed.model.meshes import FDS_PORT, LocalMesh
from meshfed.model.reasons import DENIALS, Condition, ConditionType, Decision, Reason
from meshfed.plan import meshes, statuses, subscriptions
from meshfed.plan.exports import Exports
from meshfed.plan.failures import Failures
from meshfed.plan.federations import Federations
from meshfed.plan.import_objects import ImportObjects
from meshfed.plan.imports import Imports
from meshfed.plan.ingress import Ingress
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.keys import ExportKey, GatewayKey, ImportKey, Key, MeshKey, RemoteKey
from meshfed.plan.mutual_tls import MutualTLS
from meshfed.plan.overrides import Overrides
from meshfed.plan.probes import Probes
from meshfed.plan.remotes import Peer, Remotes, ourselves
from meshfed.plan.values import THIS, Applied, RemoteConnection, Settings, StatusUpdate

MAX_LISTED: Final = 64
"""The most objects that a status lists: a host has as many as its remotes have addresses and announce identities."""


class Reporting:
    """The statuses of all our objects."""

    REMOTE: ClassVar = "the status of RemoteMesh"
    MESH: ClassVar = "the status of MeshFederation"

    def __init__(
        self,
        graph: Graph,
        settings: Settings,
        *,
        inputs: ClusterInputs,
        federations: Federations,
        remotes: Remotes,
        exports: Exports,
        imports: Imports,
        objects: ImportObjects,
        ingress: Ingress,
        mutual_tls: MutualTLS,
        overrides: Overrides,
    ) -> None:
        self._settings = settings
        self._meshes = inputs.meshes
        self._subscribers = inputs.subscribers
        self._requests_handled = inputs.requests_handled
        self._federations = federations
        self._remotes = remotes
        self._exports = exports
        self._imports = imports
        self._objects = objects
        self._ingress = ingress
        self._mutual_tls = mutual_tls
        self._overrides = overrides
        self.connections = Input[str, RemoteConnection](graph, "the connection to RemoteMesh")
        self._applied = Input[Key, Applied](graph, "the objects of")
        """What the engine says of what is of a whole mesh."""
        self._imports_applied: dict[ImportKey, Applied] = {}
        """What it says of each host that is imported; that of an export matters where it failed."""
        self._failures = Failures(graph, imports.merged, imports.offers)
        self.probes = Probes(
            graph, settings, federations=federations, remotes=remotes, imports=imports, failures=self._failures
        )
        self._remote_statuses = Derived[str, StatusUpdate](
            graph, self.REMOTE, self._remote, over=[remotes.objects], output=True
        )
        self._gateway = Derived[str, Condition](
            graph, "whether the gateway is ready of", self._gateway_ready, keys=[THIS]
        )
        self._exporting = Derived[str, Condition](
            graph, "whether exports are ready of", self._exports_ready, keys=[THIS]
        )
        self._mesh_statuses = Derived[str, StatusUpdate](
            graph, self.MESH, self._mesh, over=[federations.objects], output=True
        )

    # --- inputs -----------------------------------------------------------------------------------

    def applied_changed(self, key: Key, applied: Applied | None) -> bool:
        """Take in the engine's verdict on the objects of ``key``, and say whether it is another."""
        match key:
            case ImportKey():
                if applied == self._imports_applied.get(key):
                    return False
                if applied is None:
                    del self._imports_applied[key]
                else:
                    self._imports_applied[key] = applied
                self._failures.change(key, applied)
            case ExportKey():
                self._failures.change(key, applied)
            case _:
                if applied == self._applied.get(key):
                    return False
                self._applied.put(key, applied)
        return True

    def record_changed(self, remote: str, host: str, applied: Applied) -> None:
        """Take in the engine's verdict on the FederatedService for what ``remote`` offers under ``host``."""
        self._failures.change((remote, host), applied)

    # --- FederatedService -------------------------------------------------------------------------

    def offer(self, record: str) -> tuple[StatusUpdate, ...]:
        """Return the status of a FederatedService; none where it is gone, or cannot be understood itself."""
        offer, fate = self._imports.offer(record), self._imports.fate(record)
        if offer is None or self._federations.mesh is None:
            return ()
        if fate is None:
            reason = self._imports.why_fate_unknown(record)
            # The rest of it stays.
            return (self._update(record, offer, statuses.unknown_conditions(reason)),) if reason else ()
        decision, host = fate.decision, fate.host
        outcome = self._objects.outcome(host)
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
            applied=self._imports_applied.get(ImportKey(host)),
            unresolved=unresolved,
        )
        ways, ended = self.probes.import_conditions(record, fate)
        fields: dict[str, str | tuple[str, ...]] = {"importedAs": host, "objects": objects[:MAX_LISTED]}
        return (self._update(record, offer, (*conditions, *ways), fields, ended),)

    def _update(
        self,
        record: str,
        offer: FederatedService,
        conditions: tuple[Condition, ...],
        fields: dict[str, str | tuple[str, ...]] | None = None,
        ended: tuple[ConditionType, ...] = (),
    ) -> StatusUpdate:
        return StatusUpdate(
            kind="FederatedService",
            namespace=offer.metadata.namespace or self._settings.namespace,
            name=record,
            observed_generation=offer.metadata.generation,
            conditions=conditions,
            ended=ended,
            fields=fields or {},
        )

    # --- RemoteMesh -------------------------------------------------------------------------------

    def remote(self, name: str) -> tuple[StatusUpdate, ...] | None:
        """Return the status of a RemoteMesh; none where it is gone, or going, ``None`` where nobody can say."""
        status = self._remote_statuses.get(name)
        if status is None:
            return ()
        return (status,) if isinstance(status, StatusUpdate) else None

    def _remote(self, context: Context, name: str) -> StatusUpdate | None:
        described = context.get(self._remotes.objects, name)
        if described is None:
            return None
        mesh, peer = context.get(self._meshes, THIS), described.peer
        connection = context.get(self.connections, name) or RemoteConnection()
        handled = context.get(self._requests_handled, name)
        counts = context.get(self._imports.counts, name) or {}
        imported = counts.get(None, 0)
        refused = dict(connection.unrecorded)
        for reason, number in counts.items():
            if reason is not None:
                refused[reason] = refused.get(reason, 0) + number
        not_imported = sum(refused.values())
        denied = sum(number for reason, number in refused.items() if reason in DENIALS)
        subscribed: tuple[Condition, ...] = ()
        if mesh is None:
            conditions = statuses.no_mesh_conditions(self._settings.namespace)
        else:
            subscribed = self._subscribed(context, mesh, peer)
            conditions = statuses.remote_conditions(
                statuses.RemoteFacts(
                    name=name,
                    connection=connection,
                    conflict=self._conflict(context, mesh, peer),
                    identity=str(peer.remote.identity),
                    shares_identity_with=self._sharing_identity(context, mesh, peer),
                    shadowed_by=meshes.shadowed_by(mesh, peer.remote),
                    reachable=bool(peer.remote.addresses or peer.remote.discovery_address),
                    publish_only=peer.rules is None,
                    plaintext=self._plaintext(context, mesh, peer),
                    offered=imported + not_imported,
                    imported=imported,
                    refused=refused,
                    applied=context.get(self._applied, RemoteKey(name)),
                    failed=self._failures.of(context, ("imports", name)),
                    unrecorded=self._failures.of(context, ("records", name)),
                    cut_off=self._failures.of(context, ("gateways", name)),
                    unreached=self._failures.of(context, ("ways", name)),
                    way=context.get(self.probes.discovery, name),
                )
            )
        return StatusUpdate(
            kind="RemoteMesh",
            namespace=described.namespace or self._settings.namespace,
            name=name,
            observed_generation=described.generation,
            conditions=(*conditions, *subscribed),
            at_first=(subscriptions.NOT_KNOWN_YET,) if mesh is not None and not subscribed else (),
            ended=(*self.probes.ended(mesh, peer), *((ConditionType.SUBSCRIBED,) if mesh is None else ())),
            fields={
                "offeredServices": imported + not_imported,
                "importedServices": imported,
                "deniedServices": denied,
                "refusedServices": not_imported - denied,
                "refused": tuple(
                    RefusedCount(reason=reason, count=refused[reason]) for reason in sorted(refused.keys() - DENIALS)
                ),
                "heldServices": connection.held,
                "heldSince": connection.held_since,
                "lastConnected": connection.last_connected,
                "lastSync": connection.last_sync,
                "dialect": connection.dialect,
                "identity": connection.identity,
                **self._imported_there(context, name),
                **({"probeHandledAt": handled} if handled else {}),
            },
        )

    def _imported_there(self, context: Context, name: str) -> dict[str, int]:
        """Return how many Services of this mesh a remote says that it imports; nothing where that is not known yet."""
        found = context.get(self._subscribers, name)
        return {"importedThere": found.imports} if found is not None else {}

    def _subscribed(self, context: Context, mesh: LocalMesh, peer: Peer) -> tuple[Condition, ...]:
        """Return whether a remote subscribes; nothing where that is not known yet, so that what was said stands."""
        found = context.get(self._subscribers, peer.remote.name)
        if found is None:
            return ()
        others = self._sharing_identity(context, mesh, peer)
        return (subscriptions.subscribed(found, str(peer.remote.identity), others),)

    def _conflict(self, context: Context, mesh: LocalMesh, peer: Peer) -> Decision | None:
        remote = peer.remote
        found = ourselves(mesh, remote)
        if found is not None or not remote.network:
            return found
        oldest = context.members(self._remotes.by_network, remote.network)[0]
        if oldest == remote.name:
            return None
        return Decision(
            accepted=False,
            reason=Reason.NAME_CONFLICT,
            message=f"RemoteMesh {oldest} is older and has the same `network`; every mesh needs a network of its own. "
            "Imports are kept",
        )

    def _plaintext(self, context: Context, mesh: LocalMesh, peer: Peer) -> str:
        """Return who keeps this mesh from speaking mTLS with a remote's discovery service, in words; empty: nobody."""
        remote = peer.remote
        if not istio.discovery_entry(mesh, remote) or istio.discovery_rule(mesh, remote):
            return ""
        ports = {address.port for address in remote.addresses}
        off = self._mutual_tls.off_for(context, mesh, mesh.control_plane_namespace, {}, ports)
        if off:
            whole = off == self._mutual_tls.off_everywhere(context, mesh)
            return f"{off} holds for {'the whole mesh' if whole else 'its discovery service'}"
        rule = self._overrides.off_for(
            context,
            mesh,
            remote.fds_host,
            service_namespace=mesh.control_plane_namespace,
            clients=[mesh.namespace],
            ports=[remote.discovery_port],
        )
        return f"{rule[remote.discovery_port]} counts for its discovery service" if rule else ""

    def _sharing_identity(self, context: Context, mesh: LocalMesh, peer: Peer) -> tuple[str, ...]:
        """Return who else has a remote's identity, in words for a person."""
        remote = peer.remote
        sharing = context.members(self._remotes.by_identity, remote.identity)
        others = (f"RemoteMesh {other}" for other in sharing if other != remote.name)
        return (*(("this mesh",) if remote.identity == mesh.identity else ()), *others)

    # --- MeshFederation ---------------------------------------------------------------------------

    def mesh(self) -> tuple[StatusUpdate, ...]:
        """Return the status of every MeshFederation."""
        found = (self._mesh_statuses.get(name) for name in sorted(self._federations.objects.known_keys()))
        return tuple(status for status in found if isinstance(status, StatusUpdate))

    def _mesh(self, context: Context, name: str) -> StatusUpdate | None:
        federation, in_force = (
            context.get(self._federations.objects, name),
            context.get(self._federations.in_force, THIS),
        )
        if federation is None or in_force is None:
            return None
        if in_force.metadata.name != name:
            return self._of_mesh(federation, statuses.duplicate_conditions(in_force.metadata.name), 0, 0, 0)
        gateway, exporting = context.get(self._gateway, THIS), context.get(self._exporting, THIS)
        mesh = context.get(self._meshes, THIS)
        if mesh is None or gateway is None or exporting is None:
            return None
        exported = len(context.members(self._exports.by_reason, Reason.EXPORTED))
        imported = (context.get(self._imports.hosts, THIS) or {}).get(True, 0)
        remotes = sum((context.get(self._remotes.identities, THIS) or {}).values())
        conditions = statuses.mesh_conditions(
            mesh, gateway, exporting, exported=exported, imported=imported, remotes=remotes
        )
        return self._of_mesh(federation, conditions, exported, imported, remotes)

    def _of_mesh(
        self, federation: MeshFederation, conditions: tuple[Condition, ...], exported: int, imported: int, remotes: int
    ) -> StatusUpdate:
        return StatusUpdate(
            kind="MeshFederation",
            namespace=federation.metadata.namespace or self._settings.namespace,
            name=federation.metadata.name,
            observed_generation=federation.metadata.generation,
            conditions=conditions,
            fields={"exportedServices": exported, "importedServices": imported, "remoteMeshes": remotes},
        )

    def _gateway_ready(self, context: Context, _this: str) -> Condition:
        """Return whether the gateway's objects are in place, and what is wrong with it."""
        keys: list[Key] = [*map(GatewayKey, self._exports.gateways(context)), MeshKey()]
        trouble = self._ingress.trouble(context, self._exports.ports(context))
        if trouble is None or trouble.status == "True":
            trouble = self._no_way_to_discovery(context) or trouble
        return statuses.gateway_ready([context.get(self._applied, key) for key in keys], trouble)

    def _no_way_to_discovery(self, context: Context) -> Condition | None:
        """Return why the gateway passes nobody on to the discovery service, which is behind it too.

        Our own PeerAuthentication has mTLS for it, but for nobody in the root namespace.
        """
        mesh = context.get(self._meshes, THIS)
        if mesh is None:
            return None
        off = self._mutual_tls.off_everywhere(context, mesh)
        if off and mesh.namespace == mesh.root_namespace:
            return statuses.no_way_to_discovery(f"{off} holds for the whole mesh")
        rule = self._overrides.off_for(
            context,
            mesh,
            mesh.fds_host,
            service_namespace=mesh.namespace,
            clients=self._exports.gateway_in(context, mesh),
            ports=[FDS_PORT],
        )
        return statuses.no_way_to_discovery(f"{rule[FDS_PORT]} counts for it") if rule else None

    def _exports_ready(self, context: Context, _this: str) -> Condition | None:
        """Return whether what is exported works, and what is left out."""
        mesh = context.get(self._meshes, THIS)
        if mesh is None:
            return None
        left_out = self._exports.left_out(context)

        def first(reason: Reason) -> str:
            return "".join(self._exports.why(context, name) for name in left_out.get(reason, ())[:1])

        return statuses.exports_ready(
            statuses.ExportFacts(
                exports_anything=context.get(self._federations.exports, THIS) is not None,
                exported=len(context.members(self._exports.by_reason, Reason.EXPORTED)),
                names=self._exports.names(context),
                invalid=first(Reason.INVALID),
                plaintext=first(Reason.MTLS_DISABLED),
                left_out=left_out,
                hidden_by=meshes.hidden_by(mesh.config),
                gateway_in=self._exports.gateway_in(context, mesh),
                failed=self._failures.of(context, ("exports", "")),
            )
        )
