"""What is reported: how discovery stands and what the engine made of each key, and the statuses that follow from it.

Everything else in the plan works out what should exist. What came of that is taken in here, and nothing that should
exist depends on it.
"""

from __future__ import annotations

from collections import Counter

from meshfed.api.meta import RefusedCount
from meshfed.api.v1alpha1 import MAX_LISTED, FederatedService, MeshFederation
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import DENIALS, Decision, Reason
from meshfed.plan import meshes, statuses
from meshfed.plan.exports import Exports
from meshfed.plan.failures import Failures
from meshfed.plan.federations import Federations
from meshfed.plan.imports import Imports
from meshfed.plan.ingress import Ingress
from meshfed.plan.keys import (
    ExportKey,
    GatewayKey,
    ImportKey,
    Key,
    Mark,
    MeshKey,
    MeshStatusKey,
    OfferKey,
    RemoteKey,
    RemoteStatusKey,
)
from meshfed.plan.remotes import Remotes
from meshfed.plan.values import Applied, RemoteConnection, Settings, StatusUpdate


class Reporting:
    """The statuses of all our objects."""

    def __init__(
        self,
        settings: Settings,
        mark: Mark,
        *,
        federations: Federations,
        remotes: Remotes,
        exports: Exports,
        imports: Imports,
        ingress: Ingress,
    ) -> None:
        self._settings = settings
        self._mark = mark
        self._federations = federations
        self._remotes = remotes
        self._exports = exports
        self._imports = imports
        self._ingress = ingress
        self._connections: dict[str, RemoteConnection] = {}
        self._applied: dict[Key, Applied] = {}
        self._failed_exports = Failures()
        self._failed_imports: dict[str, Failures] = {}
        """By remote, the hosts that it serves and whose objects could not be written."""
        self._blamed: dict[str, frozenset[str]] = {}
        """The remotes among whose failures a host is."""
        self._unrecorded: dict[str, Failures] = {}
        """By remote, the hosts that it offers and whose FederatedServices could not be written."""

    # --- inputs -----------------------------------------------------------------------------------

    def connection_changed(self, remote: str, connection: RemoteConnection | None) -> None:
        """Take in how the discovery of ``remote`` stands."""
        if connection == self._connections.get(remote):
            return
        if connection is None:
            del self._connections[remote]
        else:
            self._connections[remote] = connection
        self._mark(RemoteStatusKey(remote))

    def applied_changed(self, key: Key, applied: Applied | None) -> bool:
        """Take in the engine's verdict on the objects of ``key``, and say whether it is another."""
        if applied == self._applied.get(key):
            return False
        if applied is None:
            del self._applied[key]
        else:
            self._applied[key] = applied
        match key:
            case ImportKey(host=host):
                for record in self._imports.records(host):
                    self._mark(OfferKey(record), self._imports.remote_of(record))
                self.import_changed(host)
            case RemoteKey(name=name):
                self._mark(RemoteStatusKey(name))
            case GatewayKey() | MeshKey():
                self._mark(MeshStatusKey())
            case ExportKey(namespace=namespace, name=name):
                if self._failed_exports.change(f"{namespace}/{name}", applied):
                    self._mark(MeshStatusKey())
            case _:
                pass
        return True

    def import_changed(self, host: str) -> None:
        """Take note that other remotes serve a host, or that there is another verdict on its objects."""
        applied = self._applied.get(ImportKey(host))
        failed = applied is not None and applied.state == "failed"
        before, after = self._blamed.pop(host, frozenset()), self._imports.served_by(host) if failed else frozenset()
        if after:
            self._blamed[host] = after
        for remote in before | after:
            self._note(self._failed_imports, remote, host, applied if remote in after else None)

    def record_changed(self, remote: str, host: str, applied: Applied) -> None:
        """Take in the engine's verdict on the FederatedService for what ``remote`` offers under ``host``."""
        self._note(self._unrecorded, remote, host, applied)

    def _note(self, by_remote: dict[str, Failures], remote: str, host: str, applied: Applied | None) -> None:
        failures = by_remote.setdefault(remote, Failures())
        if failures.change(host, applied):
            self._mark(RemoteStatusKey(remote))
        if not failures:
            del by_remote[remote]

    # --- outputs ----------------------------------------------------------------------------------

    def offer(self, record: str) -> tuple[StatusUpdate, ...]:
        """Return the status of a FederatedService; none where it is gone, or cannot be understood itself."""
        offer, fate = self._imports.offer(record), self._imports.fate(record)
        if offer is None or self._federations.mesh is None:
            return ()
        if fate is None:
            return self._unknown(record, offer, self._imports.why_fate_unknown(record))
        decision, host = fate.decision, fate.host
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

    def _unknown(self, record: str, offer: FederatedService, reason: str) -> tuple[StatusUpdate, ...]:
        """Return the status of a FederatedService of which nobody can say what becomes of it; the rest of it stays."""
        if not reason:
            return ()
        update = StatusUpdate(
            kind="FederatedService",
            namespace=offer.metadata.namespace or self._settings.namespace,
            name=record,
            observed_generation=offer.metadata.generation,
            conditions=statuses.unknown_conditions(reason),
        )
        return (update,)

    def remote(self, name: str) -> tuple[StatusUpdate, ...]:
        """Return the status of a RemoteMesh; none where it is gone, or going."""
        remote, peer = self._remotes.object(name), self._remotes.get(name)
        if remote is None or peer is None:
            return ()
        mesh = self._federations.mesh
        connection = self._connections.get(name, RemoteConnection())
        counts = self._imports.counts(name)
        offered = sum(counts.values()) + sum(connection.unrecorded.values())
        imported = counts.get(None, 0)
        refused = Counter(connection.unrecorded)
        refused.update({reason: number for reason, number in counts.items() if reason is not None})
        denied = sum(refused[reason] for reason in DENIALS)
        if mesh is None:
            conditions = statuses.no_mesh_conditions(self._settings.namespace)
        else:
            conditions = statuses.remote_conditions(
                statuses.RemoteFacts(
                    name=name,
                    connection=connection,
                    conflict=self._conflict(mesh, name),
                    identity=str(peer.remote.identity),
                    shares_identity_with=tuple(self._remotes.shares_identity_with(mesh, name)),
                    shadowed_by=meshes.shadowed_by(mesh, peer.remote),
                    reachable=bool(peer.remote.addresses or peer.remote.discovery_address),
                    publish_only=peer.rules is None,
                    offered=offered,
                    imported=imported,
                    refused=refused,
                    applied=self._applied.get(RemoteKey(name)),
                    failed=self._failed_imports.get(name),
                    unrecorded=self._unrecorded.get(name),
                )
            )
        return (
            StatusUpdate(
                kind="RemoteMesh",
                namespace=remote.metadata.namespace or self._settings.namespace,
                name=name,
                observed_generation=remote.metadata.generation,
                conditions=conditions,
                fields={
                    "offeredServices": offered,
                    "importedServices": imported,
                    "deniedServices": denied,
                    "refusedServices": refused.total() - denied,
                    "refused": tuple(
                        RefusedCount(reason=reason, count=refused[reason])
                        for reason in sorted(refused.keys() - DENIALS)
                    ),
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

    def mesh(self) -> tuple[StatusUpdate, ...]:
        """Return the status of every MeshFederation; none where none is in force."""
        in_force = self._federations.in_force
        if in_force is None:
            return ()
        return tuple(
            self._duplicate_status(federation, in_force) if federation is not in_force else self._status_of(in_force)
            for federation in self._federations.all()
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
            gateway_in=self._exports.gateway_in(),
            ingress=self._ingress.trouble(self._exports.ports),
            gateways=[self._applied.get(key) for key in (*gateways, MeshKey())],
            failed_exports=self._failed_exports,
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
