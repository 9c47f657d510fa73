"""What this mesh exports, kept up Service by Service: the decision, the home of its host, the objects it needs.

A Service is decided when it changes and not when it is asked for, so that an irrelevant change (an annotation, a
status) ends here and marks nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence

from meshfed import istio
from meshfed.api.core import Namespace, Service
from meshfed.api.v1alpha1 import Export
from meshfed.federation.exports import decide, holder
from meshfed.federation.homes import Homes
from meshfed.model.meshes import FDS_PORT, IngressType, LocalMesh
from meshfed.model.names import ServiceHost
from meshfed.model.reasons import Condition, ConditionType, Decision, Reason
from meshfed.model.workloads import Serving
from meshfed.plan import meshes
from meshfed.plan.claims import Claim, Place, described, listing
from meshfed.plan.judging import Judging, Unjudged
from meshfed.plan.keys import ExportKey, GatewayKey, Key, MeshKey, MeshStatusKey
from meshfed.plan.values import Outputs, Published, StatusUpdate

_EXPECTED = frozenset({Reason.NOT_SELECTED, Reason.DENIED_BY_RULE})
"""Why a Service is not exported where nobody would expect it to be."""


class Exports:
    """The exported Services of this mesh."""

    def __init__(
        self,
        mark: Callable[[Key], None],
        services: Mapping[Place, Service],
        serving: Callable[[Place], Serving],
        judging: Judging,
    ) -> None:
        self._mark = mark
        self._judging = judging
        self._services = services
        self._serving = serving
        self._mesh: LocalMesh | None = None
        self._export: Export | None = None
        self._namespaces: dict[str, Namespace] = {}
        self._in_namespace: dict[str, set[str]] = {}
        self._gateway_in: frozenset[str] = frozenset()
        self._seen_in: dict[Place, tuple[str, ...]] = {}
        """Of Services that not every namespace sees, those that do."""
        self._service_exports: dict[Place, int] = {}
        self._decided: dict[Place, Claim | Decision] = {}
        self._claims: dict[str, set[Place]] = {}
        self._settled: dict[Place, tuple[Reason, str]] = {}
        self._listed: dict[Reason, list[str]] = {}
        self._homes = Homes()
        self.ports = 0
        """How many ports are exported."""

    # --- inputs -----------------------------------------------------------------------------------

    def configure(self, mesh: LocalMesh | None, export: Export | None) -> None:
        """Take in this mesh and what it exports; the one change that asks about every Service."""
        if mesh == self._mesh and export == self._export:
            return
        if mesh != self._mesh:
            for namespace, name in self._services:
                self._mark(ExportKey(namespace, name))
            for index in {0, *self._homes.indexes()}:
                self._mark(GatewayKey(index))
            self._mark(MeshKey())
        self._mesh, self._export = mesh, export
        for place in list(self._decided.keys() | self._services.keys() | self._service_exports.keys()):
            self.decide(place)

    def namespace_changed(self, name: str, namespace: Namespace | None) -> None:
        """Take in a Namespace, whose labels may decide about its Services."""
        if namespace is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = namespace
        if self._export is not None and self._export.namespace_selectors is not None:
            for service in self._in_namespace.get(name, ()):
                self.decide((name, service))

    def service_changed(self, place: Place) -> None:
        """Take note of a change to a Service, which `services` holds already."""
        namespace, name = place
        if place in self._services:
            self._in_namespace.setdefault(namespace, set()).add(name)
        elif namespace in self._in_namespace:
            self._in_namespace[namespace].discard(name)
            if not self._in_namespace[namespace]:
                del self._in_namespace[namespace]
        service = self._services.get(place)
        seen_in = meshes.seen_in(service) if service is not None else None
        if seen_in is None:
            self._seen_in.pop(place, None)
        else:
            self._seen_in[place] = seen_in
        self.decide(place)

    def gateway_moved(self, namespaces: frozenset[str]) -> None:
        """Take in where the gateway is; only Services that not every namespace sees are asked about."""
        if namespaces != self._gateway_in:
            self._gateway_in = namespaces
            for place in list(self._seen_in):
                self.decide(place)

    def serving_changed(self, place: Place) -> None:
        """Take note that what is behind a Service is another."""
        self.decide(place)

    def service_export_changed(self, place: Place, generation: int | None) -> None:
        """Take in a ServiceExport."""
        if generation == self._service_exports.get(place):
            return
        if generation is None:
            del self._service_exports[place]
        else:
            self._service_exports[place] = generation
        self._mark(ExportKey(*place))
        self.decide(place)

    def gateway_observed(self, index: int, hosts: Iterable[str]) -> None:
        """Take over the homes that an existing Gateway records."""
        places = []
        for host in hosts:
            labels = host.split(".")
            if len(labels) > 3 and labels[2] == "svc":
                places.append((labels[1], labels[0]))
                self._mark(ExportKey(labels[1], labels[0]))
        self._homes.recover(index, places)
        self._mark(GatewayKey(index))

    # --- decisions --------------------------------------------------------------------------------

    def decide(self, place: Place) -> None:
        """Decide about a Service again."""
        before, after = (
            self._decided.get(place),
            self._judging.judge(("Service", *place), lambda: self._decision(place)),
        )
        if isinstance(after, Unjudged) or before == after:
            return
        self._mark(ExportKey(*place))
        self._mark(MeshStatusKey())
        if isinstance(before, Claim):
            self._unclaim(place, before)
        elif before is not None:
            self._list(before.reason, "/".join(place), there=False)
        if isinstance(after, Claim):
            self._claim(place, after)
        elif after is not None:
            self._list(after.reason, "/".join(place), there=True)
        if after is None:
            del self._decided[place]
        else:
            self._decided[place] = after

    def _decision(self, place: Place) -> Claim | Decision | None:
        service = self._services.get(place)
        if service is None or self._mesh is None:
            return None
        namespace = self._namespaces.get(place[0])
        labels = {"kubernetes.io/metadata.name": place[0]} | (namespace.metadata.labels if namespace else {})
        serving = self._serving(place)
        exported = decide(
            self._mesh,
            self._export,
            service,
            labels,
            has_service_export=place in self._service_exports,
            accounts=serving.accounts,
        )
        if isinstance(exported, Decision):
            return exported
        unservable: tuple[int, ...] = ()
        if self._mesh.ingress_type is IngressType.OPENSHIFT_ROUTER:
            unservable = tuple(
                port.number for port in exported.offer.ports if istio.router_sni(exported.service, port.number) is None
            )
        return Claim(
            exported=exported,
            created=service.metadata.creation_timestamp,
            unservable=unservable,
            meshless=serving.outside and not serving.in_mesh,
            hidden=place in self._seen_in and not {*self.gateway_in()} & {*self._seen_in[place]},
        )

    def _claim(self, place: Place, claim: Claim) -> None:
        rivals = self._claims.setdefault(claim.exported.offer.host, set())
        for rival in rivals:
            self._mark(ExportKey(*rival))
        rivals.add(place)
        self.ports += len(claim.exported.offer.ports)
        for reason in claim.flaws:
            self._list(reason, "/".join(place), there=True)

    def _unclaim(self, place: Place, claim: Claim) -> None:
        host = claim.exported.offer.host
        rivals = self._claims[host]
        rivals.discard(place)
        self.ports -= len(claim.exported.offer.ports)
        for rival in rivals:
            self._mark(ExportKey(*rival))
        if not rivals:
            del self._claims[host]
        for reason in claim.flaws:
            self._list(reason, "/".join(place), there=False)

    def _settle(self, place: Place, decided: Claim | Decision | None) -> None:
        """Keep who is exported, and who would be if another did not have its host."""
        before, after = self._settled.pop(place, None), listing(place, decided)
        if after is not None:
            self._settled[place] = after
        if before == after:
            return
        self._mark(MeshStatusKey())
        for settled, there in ((before, False), (after, True)):
            if settled is not None:
                self._list(*settled, there=there)

    def _list(self, reason: Reason, name: str, *, there: bool) -> None:
        """Keep the names that a person may ask about, sorted."""
        if reason in _EXPECTED:
            return
        names = self._listed.setdefault(reason, [])
        if there:
            insort(names, name)
        else:
            del names[bisect_left(names, name)]

    def _holder(self, host: str) -> ServiceHost | None:
        claims = [self._decided[place] for place in self._claims.get(host, ())]
        return holder((claim.exported, claim.created) for claim in claims if isinstance(claim, Claim))

    # --- outputs ----------------------------------------------------------------------------------

    def reconcile(self, place: Place) -> Outputs:
        """Return what one Service offers, and what the router in front of this mesh needs for it."""
        decided = self._decision_for(place)
        self._settle(place, decided)
        statuses = self._service_export_status(place, decided)
        if self._mesh is None or not isinstance(decided, Claim):
            home = self._homes.leave(place)
            if home is not None:
                self._mark(GatewayKey(home))
            return Outputs(export_decision=decided if isinstance(decided, Decision) else None, statuses=statuses)
        if self._homes.home(place) is None:
            self._mark(GatewayKey(self._homes.settle(place)))
        exported = decided.exported
        return Outputs(
            objects=tuple(
                manifest
                for port in exported.offer.ports
                for manifest in (
                    istio.passthrough_filter(self._mesh, exported.service, port.number),
                    istio.route(self._mesh, exported.service, port.number),
                )
                if manifest is not None
            ),
            export=Published(offer=exported.offer, audience=exported.audience),
            export_decision=described(decided),
            statuses=statuses,
        )

    def _decision_for(self, place: Place) -> Claim | Decision | None:
        """Return what holds of a Service once it is settled who has its host."""
        decided = self._decided.get(place)
        if not isinstance(decided, Claim):
            return decided
        host = decided.exported.offer.host
        first = self._holder(host)
        if first is None or (first.namespace, first.name) == place:
            return decided
        return Decision(
            accepted=False,
            reason=Reason.HOST_TAKEN,
            message=f"Service {first.namespace}/{first.name} is exported as {host} already; choose another `as`",
        )

    def _service_export_status(self, place: Place, decided: Claim | Decision | None) -> tuple[StatusUpdate, ...]:
        """Return what the multi-cluster services API wants to hear, where this mesh listens to it."""
        generation = self._service_exports.get(place)
        if generation is None or self._mesh is None or self._export is None or not self._export.service_exports:
            return ()
        namespace, name = place
        decision = described(decided) if isinstance(decided, Claim) else decided
        if decision is None:
            decision = Decision(
                accepted=False, reason=Reason.NO_SERVICE, message=f"there is no Service {namespace}/{name} to export"
            )
        valid = Condition(
            type=ConditionType.VALID,
            status="True" if decision.accepted else "False",
            reason=decision.reason,
            message=decision.message,
        )
        return (
            StatusUpdate(
                kind="ServiceExport",
                namespace=namespace,
                name=name,
                observed_generation=generation,
                conditions=(valid,),
            ),
        )

    def gateway(self, index: int) -> Outputs:
        """Return one of the Gateways; the first is always there, for the discovery service."""
        if self._mesh is None:
            return Outputs()
        hosts = self._homes.hosts(index, self._mesh.cluster_domain)
        if index == 0:
            hosts = (self._mesh.fds_host, *hosts)
        if not hosts:
            return Outputs()
        return Outputs(
            objects=(istio.gateway(self._mesh, index, hosts),),
            after=frozenset(GatewayKey(former) for former in self._homes.former(index)),
        )

    def gateway_in_place(self, index: int) -> None:
        """Take note that one of the Gateways is in the cluster as `gateway` says, or gone where that says nothing."""
        self._homes.left(index)

    def discovery_objects(self) -> tuple[istio.Manifest, ...]:
        """Return what the router in front of this mesh needs for the discovery service."""
        if self._mesh is None:
            return ()
        host = ServiceHost(
            name=self._mesh.fds_service, namespace=self._mesh.namespace, domain=self._mesh.cluster_domain
        )
        objects = (istio.passthrough_filter(self._mesh, host, FDS_PORT), istio.route(self._mesh, host, FDS_PORT))
        return tuple(manifest for manifest in objects if manifest is not None)

    # --- for the status ---------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many hosts are exported."""
        return len(self._claims)

    def is_listed(self, place: Place) -> bool:
        """Whether a Service has a place in a Gateway."""
        return self._homes.home(place) is not None

    def gateway_in(self) -> list[str]:
        """Return the namespaces of the gateway, sorted: where it would be by default, if it is nowhere yet."""
        default = {self._mesh.control_plane_namespace} if self._mesh is not None else frozenset[str]()
        return sorted(self._gateway_in or default)

    def gateways(self) -> list[int]:
        """Return the numbers of the Gateways there are."""
        return sorted({0, *self._homes.indexes()})

    def left_out(self) -> dict[Reason, list[str]]:
        """Return who is left out though somebody may expect it, by reason, sorted."""
        return {reason: names for reason, names in sorted(self._listed.items()) if names and reason != Reason.EXPORTED}

    def names(self) -> Sequence[str]:
        """Return who is exported, sorted, with whatever is out of the ordinary about that."""
        return self._listed.get(Reason.EXPORTED, ())

    def why(self, name: str) -> str:
        """Return why the Service of that name, as `left_out` has it, is not exported; empty where it is."""
        namespace, _, service = name.partition("/")
        decided = self._decided.get((namespace, service))
        return decided.message if isinstance(decided, Decision) else ""
