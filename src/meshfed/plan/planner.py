"""The planner: from the current Kubernetes objects to what should exist, key by key.

It holds the inputs, knows which keys each of them touches, and works keys out on request. No I/O, no clock, no
randomness: `meshfed plan` and the controller call the same code, and the same inputs give the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec, MeshFederation, RemoteMesh
from meshfed.derive import Collection, Distinct, Graph, Input
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh, MeshConfig, Remote
from meshfed.model.reasons import Condition, Decision, Reason
from meshfed.model.turns import Turns
from meshfed.plan.exports import Exports
from meshfed.plan.failing import Failed, Failing, Subject
from meshfed.plan.federations import Federations
from meshfed.plan.foreign_service_entries import ForeignServiceEntries
from meshfed.plan.import_objects import ImportObjects
from meshfed.plan.imports import Imports
from meshfed.plan.ingress import Ingress
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.keys import (
    TURN,
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
from meshfed.plan.mutual_tls import MutualTLS
from meshfed.plan.overrides import Overrides
from meshfed.plan.remotes import Remotes
from meshfed.plan.reporting import Reporting
from meshfed.plan.surroundings import Surroundings
from meshfed.plan.values import THIS, Applied, Outputs, Place, Ref, RemoteConnection, Settings

DERIVED: Final = 256
"""The most values that are derived before everything else the process has to do has its turn: some ten milliseconds."""

_KEYS: Final[Mapping[str, Callable[[Any], Key]]] = {
    Exports.EXPORT: lambda place: ExportKey(*place),
    Exports.ANSWER: lambda place: ExportKey(*place),
    Imports.OFFER: OfferKey,
    Imports.MERGED: ImportKey,
    Imports.FATE: OfferKey,
    Remotes.PEERS: RemoteKey,
    Remotes.CALLERS: lambda _: MeshKey(),
    Reporting.REMOTE: RemoteStatusKey,
    Reporting.MESH: lambda _: MeshStatusKey(),
}
"""By what is derived, the key that is to be worked out where it comes out otherwise."""


class Planner:
    """Says what should exist in one cluster. Not for several threads; every call returns at once.

    ``on_dirty`` is called as soon as there is anything for ``take_dirty``. ``on_failed`` hears of what our own code
    fails on: what follows is unknown, until it can be worked out `again`. Without it such an exception is raised.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_dirty: Callable[[], None] = lambda: None,
        on_failed: Failed | None = None,
    ) -> None:
        self._on_dirty = on_dirty
        self._dirty: Turns[Key] = Turns()
        self._had_mesh = False
        graph = self._graph = Graph(marked=on_dirty)
        self._failing = Failing(graph, settings.namespace, on_failed) if on_failed is not None else None
        if self._failing is not None:
            graph.failed = self._failing.heard
        self.inputs = ClusterInputs(graph)
        """The objects of the cluster, as they are watched; those of ours come in by the methods below."""
        self._federations = Federations(graph, settings, self.inputs)
        self._remotes = Remotes(graph)
        rivals = ForeignServiceEntries(graph, self.inputs.entries)
        locals_ = LocalServices(graph, self.inputs, rivals)
        mutual_tls = MutualTLS(graph, self.inputs, locals_)
        overrides = Overrides(graph, self.inputs)
        self._ingress = Ingress(graph, self.inputs, locals_)
        self._exports = Exports(
            graph,
            self._mark,
            inputs=self.inputs,
            rules=self._federations.exports,
            serving=locals_.serving,
            mutual_tls=mutual_tls,
            overrides=overrides,
            gateways=self._ingress.namespaces,
            listening=self._ingress.listening,
        )
        surroundings = Surroundings(graph, self.inputs, locals_, rivals, mutual_tls=mutual_tls, overrides=overrides)
        self.imports = self._imports = Imports(
            graph, meshes=self.inputs.meshes, surroundings=surroundings, remotes=self._remotes
        )
        """What is imported, to be asked; what changes comes in by the methods below."""
        self._objects = ImportObjects(
            graph, self._mark, meshes=self.inputs.meshes, merged=self._imports.merged, told=self._outcome_changed
        )
        self._reporting = Reporting(
            graph,
            settings,
            inputs=self.inputs,
            federations=self._federations,
            remotes=self._remotes,
            exports=self._exports,
            imports=self._imports,
            objects=self._objects,
            ingress=self._ingress,
            mutual_tls=mutual_tls,
            overrides=overrides,
        )

    def _mark(self, key: Key, flow: str = "") -> None:
        self._dirty.add(key, flow, rank=key.rank)
        self._on_dirty()

    # --- inputs: each takes the object as it stands now, or None where it is gone -----------------

    def federation_changed(self, name: str, federation: MeshFederation | None) -> None:
        """Take in a MeshFederation; the oldest one of the namespace is in force."""
        self._federations.change(name, federation)

    def mesh_config_changed(self, config: MeshConfig) -> None:
        """Take in what the mesh's own configuration states."""
        self._federations.mesh_config_changed(config)

    def remote_changed(self, name: str, remote: RemoteMesh | None) -> None:
        """Take in a RemoteMesh."""
        self._remotes.change(name, remote)

    def service_export_changed(self, namespace: str, name: str, generation: int | None) -> None:
        """Take in a ServiceExport of the multi-cluster services API, by its generation; ``None``: it is gone."""
        self._exports.service_exports.put((namespace, name), generation)

    def offer_changed(self, name: str, offer: FederatedService | None) -> None:
        """Take in a FederatedService, by its object name."""
        self._imports.offer_changed(name, offer)

    def resolution_changed(self, host_name: str, addresses: tuple[str, ...]) -> None:
        """Take in what DNS says of a remote's address; an empty answer keeps the last one."""
        self._objects.resolution_changed(host_name, addresses)

    def gateway_observed(self, index: int, hosts: Sequence[str]) -> None:
        """Take in the hosts of a Gateway object that exists already: history, given before the first key is taken."""
        self._exports.gateway_observed(index, hosts)

    def filter_observed(self, place: Place) -> None:
        """Take in that an EnvoyFilter for an export exists already: history, like the Gateways."""
        self._exports.filter_observed(place)

    def connection_changed(self, remote: str, connection: RemoteConnection | None) -> None:
        """Take in how the discovery of ``remote`` stands."""
        self._reporting.connections.put(remote, connection)

    def is_connected(self, remote: str) -> bool | None:
        """Whether the discovery of ``remote`` is connected, as was last taken in; ``None`` where nobody tried yet."""
        connection = self._reporting.connections.get(remote)
        if isinstance(connection, RemoteConnection) and connection.reason is not Reason.CONNECTING:
            return connection.connected
        return None

    def applied_changed(self, key: Key, applied: Applied | None) -> None:
        """Take in the engine's verdict on the objects of ``key``; ``None`` where it has none any more."""
        if not self._reporting.applied_changed(key, applied):
            return
        match key:
            case ImportKey(host=host):
                self._outcome_changed(host)
            case GatewayKey(index=index) if key not in self._dirty and applied == Applied("applied"):
                self._exports.gateway_in_place(index)
            case _:
                pass

    def _outcome_changed(self, host: str) -> None:
        """Take note that the objects that carry a host are others, or stand otherwise."""
        for record in self._imports.records(host):
            self._mark(OfferKey(record), self._imports.remote_of(record))

    def reached(self, key: OfferKey | RemoteKey, condition: Condition, *, lasting: bool) -> None:
        """Take in what was seen of the way to an import or a remote; ``lasting``: it has been broken for long."""
        if self._reporting.probes.changed(key, condition, lasting=lasting):
            self._mark(key, self._imports.remote_of(key.name))

    def record_changed(self, remote: str, host: str, applied: Applied) -> None:
        """Take in the engine's verdict on the FederatedService for what ``remote`` offers under ``host``."""
        self._reporting.record_changed(remote, host, applied)

    # --- what is unknown --------------------------------------------------------------------------

    def unknown(self, ref: Ref, reason: str, hosts: Sequence[str] = ()) -> None:
        """Take note of an object of which nobody can say what it is; what follows from it is unknown for ``reason``.

        Of a FederatedService ``hosts`` are those that it may be imported as.
        """
        if ref[0] == "FederatedService":
            self._imports.offer_unknown(ref[2], reason, hosts)
        elif ref[0] == "MeshFederation":
            self._federations.unknown(ref[2], reason)
        elif (found := self._input(ref)) is not None:
            given, key, flow = found
            given.unknown(key, reason, flow)

    def known(self, ref: Ref) -> None:
        """Take note that an object is what was given since it was ``unknown``, or gone."""
        if ref[0] == "FederatedService":
            self._imports.offer_known(ref[2])
        elif ref[0] == "MeshFederation":
            self._federations.known(ref[2])
        elif (found := self._input(ref)) is not None:
            given, key, flow = found
            given.clear(key, flow)

    def _input(self, ref: Ref) -> tuple[Input[Any, Any] | Distinct[Any, Any, Any], Any, str] | None:
        """Return what an object is an input of, under which key, and in whose turn what follows from it is worked out.

        ``None`` where that is no object of which it matters that nobody can say what it is.
        """
        kind, namespace, name = ref
        if kind == "RemoteMesh":
            return self._remotes.objects, name, name
        if kind == "ServiceExport":
            return self._exports.service_exports, (namespace, name), ""
        found = self.inputs.of(ref)
        return (*found, "") if found is not None else None

    def why_unknown(self, key: Key) -> str:
        """Return why nobody can say what a key comes to; empty where somebody can."""
        if self.mesh is None:
            return ""  # nothing comes of anything
        match key:
            case ImportKey(host=host):
                return self._imports.why_unknown(host)
            case OfferKey(name=name):
                return self._imports.why_offer_unknown(name)
            case _:
                value = self._value_of(key)
                return value[0].why_unknown(value[1]) if value is not None else ""

    def _value_of(self, key: Key) -> tuple[Collection[Any, Any], Any] | None:
        """Return where what a key goes by is derived, and under which key; ``None`` where that is of no use here."""
        match key:
            case ExportKey(namespace=namespace, name=name):
                return self._exports.decided, (namespace, name)
            case ImportKey(host=host):
                return self._imports.merged, host
            case MeshKey():
                return self._remotes.callers, THIS
            case RemoteKey(name=name):
                return self._remotes.peers, name
            case OfferKey(name=name):
                return self._imports.offers, name
            case _:
                return None

    def why_anything_is_unknown(self) -> str:
        """Return why something of all there is is unknown; empty where nothing is."""
        return next((node.value.reason for node in self._graph.unknown), "") if self.mesh is not None else ""

    def unknown_exports(self) -> list[ExportKey]:
        """Return the Services of which nobody can say whether they are exported."""
        nodes = (node for node in self._graph.unknown if node.collection.name == Exports.EXPORT)
        return [ExportKey(*node.key) for node in nodes]

    def learned(self) -> bool:
        """Return whether something came to be known, since the last call, that was unknown."""
        # Without a mesh it is known of everything what comes of it.
        had_mesh, self._had_mesh = self._had_mesh, self.mesh is not None
        return self._graph.learned() or (had_mesh and not self._had_mesh)

    def is_worked_out(self, key: Key) -> bool:
        """Whether a key was worked out since what it comes to is another."""
        value = self._value_of(key)
        return key not in self._dirty and (value is None or not self._graph.is_to_be_told(*value))

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
        flow, keys = self._dirty.take(TURN)
        return Turn(str(flow), keys) if keys else None

    def _tell(self) -> None:
        """Mark the keys of whatever came out otherwise."""
        for change in self._graph.outputs():
            if change.collection == ClusterInputs.MESH:
                for key in self._all():
                    self._mark(key)
                continue
            key = _KEYS[change.collection](change.key)
            # What is of a whole mesh does not wait for as long as a remote goes on changing its offers.
            for flow in change.flows if isinstance(key, ExportKey | ImportKey | OfferKey) else ("",):
                self._mark(key, str(flow))

    def _all(self) -> list[Key]:
        """Return all that objects follow from: each of them says which mesh this is."""
        return [
            *(ExportKey(*place) for place in self._exports.all()),
            *map(ImportKey, self._imports.all()),
            MeshKey(),
            *map(RemoteKey, self._remotes.all()),
            *map(GatewayKey, self._exports.indexes()),
        ]

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
                return self._objects.reconcile(host)
            case MeshKey():
                guard = self._remotes.guard(self.mesh)
                return Outputs(objects=(*guard, *self._exports.discovery_objects())) if guard is not None else None
            case RemoteKey(name=name):
                ways = self._remotes.discovery(self.mesh, name)
                return Outputs(objects=ways, probe=self._reporting.probes.of(key)) if ways is not None else None
            case GatewayKey(index=index):
                return self._exports.gateway(index)
            case OfferKey(name=name):
                probe = self._reporting.probes.of(key)
                return Outputs(statuses=self._reporting.offer(name), probe=probe)
            case RemoteStatusKey(name=name):
                statuses = self._reporting.remote(name)
                return Outputs(statuses=statuses) if statuses is not None else None
            case MeshStatusKey():
                return Outputs(statuses=self._reporting.mesh())

    @property
    def mesh(self) -> LocalMesh | None:
        """This mesh as the MeshFederation in force describes it; ``None`` where there is none."""
        return self._federations.mesh

    @property
    def remotes(self) -> dict[str, Remote]:
        """The remotes that are configured, by name."""
        return self._remotes.all()

    def judge(self, spec: FederatedServiceSpec) -> Decision:
        """Return what the import rules of its remote say of an offer, recorded or not; the limit is not theirs."""
        return self._imports.judge(spec)

    def host_of(self, spec: FederatedServiceSpec) -> str:
        """Return the host that an offer, recorded or not, is imported as if it is, as far as anybody can say."""
        return self._imports.host_of(spec)

    def is_listed(self, place: Place) -> bool:
        """Whether the gateway passes a Service on, or did when this began."""
        return self._exports.is_listed(place)

    def names_to_resolve(self) -> frozenset[str]:
        """Return the remote addresses that are host names and whose IPs some WorkloadEntry needs."""
        return self._objects.names_to_resolve()

    def remotes_with_identity(self, identity: SpiffeID) -> tuple[str, ...]:
        """Return the names of the RemoteMeshes whose controller has this identity, sorted."""
        return self._remotes.with_identity(identity)
