"""What is reported: how discovery stands and what the engine made of each key, and the statuses that follow from it.

Everything else in the plan works out what should exist. What came of that is taken in here, and nothing that should
exist depends on it.
"""

from __future__ import annotations

from collections.abc import Callable

from meshfed.api.v1alpha1 import MAX_LISTED, MeshFederation
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import meshes, statuses
from meshfed.plan.exports import Exports
from meshfed.plan.federations import Federations
from meshfed.plan.imports import Imports
from meshfed.plan.ingress import Ingress
from meshfed.plan.keys import (
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
from meshfed.plan.remotes import Remotes
from meshfed.plan.values import Applied, Connection, Settings, StatusUpdate


class Reporting:
    """The statuses of all our objects."""

    def __init__(
        self,
        settings: Settings,
        mark: Callable[[Key], None],
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
        self._connections: dict[str, Connection] = {}
        self._applied: dict[Key, Applied] = {}
        self._failed: dict[Key, Applied] = {}
        self._unrecorded: dict[str, dict[str, Applied]] = {}

    # --- inputs -----------------------------------------------------------------------------------

    def connection_changed(self, remote: str, connection: Connection | None) -> None:
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
            case ExportKey() if failed_before != self._failed.get(key):
                self._mark(MeshStatusKey())
            case _:
                pass
        return True

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

    def offer(self, record: str) -> tuple[StatusUpdate, ...]:
        """Return the status of a FederatedService; none where it is gone."""
        offer = self._imports.offer(record)
        if offer is None or self._federations.mesh is None:
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

    def remote(self, name: str) -> tuple[StatusUpdate, ...]:
        """Return the status of a RemoteMesh; none where it is gone, or going."""
        remote, peer = self._remotes.object(name), self._remotes.get(name)
        if remote is None or peer is None:
            return ()
        mesh = self._federations.mesh
        connection = self._connections.get(name, Connection())
        offered = self._imports.offered(name) + connection.denied_unrecorded
        imported = self._imports.accepted(name)
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
                    applied=self._applied.get(RemoteKey(name)),
                    failed=self._failed_imports(name),
                    unrecorded=self._unrecorded.get(name, {}),
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
