"""What this mesh exports: each Service's claim to a host, who has the host, its Gateway, the objects it needs.

Everything about one Service is worked out from what is known (`meshfed.derive`), so an irrelevant change, an
annotation or a status, ends at its claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from meshfed import istio
from meshfed.api.core import Service
from meshfed.api.v1alpha1 import Export
from meshfed.derive import Context, Derived, Graph, Index, Input, Tally, Unknown
from meshfed.federation.exports import Exported, decide, holder
from meshfed.federation.gateway_shards import GatewayShards
from meshfed.model.meshes import FDS_PORT, IngressType, LocalMesh
from meshfed.model.names import ServiceHost
from meshfed.model.reasons import Condition, ConditionType, Decision, Reason
from meshfed.model.workloads import Serving
from meshfed.plan import meshes
from meshfed.plan.claims import Claim, Listed, described, listed_under, remarks, shown, without_mtls
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.keys import ExportKey, GatewayKey, Mark
from meshfed.plan.mutual_tls import MutualTLS
from meshfed.plan.overrides import Overrides
from meshfed.plan.values import THIS, Outputs, Place, Published, StatusUpdate


class Exports:
    """The exported Services of this mesh."""

    CLAIM: ClassVar = "the claim of Service"
    EXPORT: ClassVar = "the export of Service"
    ANSWER: ClassVar = "the answer to ServiceExport"

    def __init__(
        self,
        graph: Graph,
        mark: Mark,
        *,
        inputs: ClusterInputs,
        rules: Input[str, Export],
        serving: Derived[Place, Serving],
        mutual_tls: MutualTLS,
        overrides: Overrides,
        gateways: Derived[str, frozenset[str]],
        listening: Derived[str, tuple[int, ...]],
    ) -> None:
        self._mark = mark
        self._meshes = inputs.meshes
        self._namespaces = inputs.namespaces
        self._services = inputs.services
        self._serving = serving
        self._mutual_tls = mutual_tls
        self._overrides = overrides
        self._gateways = gateways
        self._listening = listening
        self._rules = rules
        self.service_exports = Input[Place, int](graph, "ServiceExport")
        self._claims = Derived[Place, Claim | Decision](graph, self.CLAIM, self._claim, over=[self._services])
        self._by_host = Index(graph, "claims to host", self._claims, _host_of, perhaps=lambda _: ())
        self._holders = Derived[str, ServiceHost](graph, "who has host", self._holder, over=[self._by_host])
        self.decided = Derived[Place, Claim | Decision](
            graph, self.EXPORT, self._export, over=[self._claims], output=True
        )
        self._answers = Derived[Place, StatusUpdate](
            graph, self.ANSWER, self._answer, over=[self.service_exports], output=True
        )
        self.by_reason = Index(graph, "Services as", self.decided, listed_under, perhaps=lambda _: ())
        some = Derived[Reason, bool](graph, "whether there are Services as", self._is_some, over=[self.by_reason])
        self._reasons = Index(graph, "why Services are listed by", some, lambda *_: (THIS,))
        self._ports = Tally(graph, "Services by the number of their ports in", self.decided, _ports_of)
        self._shards = GatewayShards()
        self._by_port: set[Place] = set()
        """Services that no Gateway lists: EnvoyFilters have the gateway pass on the ports that are exported."""
        self._gateways_in_use = Input[str, tuple[int, ...]](graph, "the Gateways of")

    # --- inputs -----------------------------------------------------------------------------------

    def gateway_observed(self, index: int, hosts: Iterable[str]) -> None:
        """Take over which hosts an existing Gateway lists."""
        places = []
        for host in hosts:
            labels = host.split(".")
            if len(labels) > 3 and labels[2] == "svc":
                places.append((labels[1], labels[0]))
                self._mark(ExportKey(labels[1], labels[0]))
        self._shards.recover(index, places)
        self._moved(index)

    def filter_observed(self, place: Place) -> None:
        """Take over that there is an EnvoyFilter for the export of a Service."""
        self._by_port.add(place)

    def _moved(self, index: int) -> None:
        """Take note that a Gateway lists something else."""
        self._gateways_in_use.put(THIS, tuple(self.indexes()))
        self._mark(GatewayKey(index))

    # --- decisions --------------------------------------------------------------------------------

    def _claim(self, context: Context, place: Place) -> Claim | Decision | None:
        """Return what a Service would be exported as, were it alone, or why it would not be."""
        mesh = context.get(self._meshes, THIS)
        service = context.get(self._services, place) if mesh is not None else None
        if service is None or mesh is None:
            return None
        export = context.get(self._rules, THIS)
        labels = {"kubernetes.io/metadata.name": place[0]}
        if export is not None and export.namespace_selectors is not None:
            namespace = context.get(self._namespaces, place[0])
            labels |= namespace.metadata.labels if namespace is not None else {}
        serving = context.get(self._serving, place) or Serving()
        exported = decide(
            mesh,
            export,
            service,
            labels,
            has_service_export=context.get(self.service_exports, place) is not None,
            accounts=serving.accounts,
        )
        if isinstance(exported, Decision):
            return exported
        numbers = {port.number for port in exported.offer.ports}
        off = self._off_from_the_gateway(context, mesh, exported) | self._mutual_tls.off_at(context, mesh, place)
        # Of a port that no rule exports, nobody minds that it is in plaintext.
        plaintext = {number: stated for number, stated in off.items() if number in numbers}
        ports = tuple(port for port in exported.offer.ports if port.number not in plaintext)
        if not ports:
            return _unreachable(place, plaintext)
        if plaintext:
            offer = msgspec.structs.replace(exported.offer, ports=ports)
            exported = msgspec.structs.replace(exported, offer=offer)
        unservable: tuple[int, ...] = ()
        if mesh.ingress_type is IngressType.OPENSHIFT_ROUTER:
            unservable = tuple(
                port.number for port in exported.offer.ports if istio.router_sni(exported.service, port.number) is None
            )
        return Claim(
            exported=exported,
            created=service.metadata.creation_timestamp,
            unservable=unservable,
            plaintext=plaintext,
            no_sidecar=serving.outside and not serving.in_mesh,
            hidden=self._hidden_by(context, mesh, service),
            listening=context.get(self._listening, THIS) or () if exported.by_port else (),
        )

    def _off_from_the_gateway(self, context: Context, mesh: LocalMesh, exported: Exported) -> dict[int, str]:
        """Return the ports to whose endpoints the gateway is not to speak mTLS, and in words the DestinationRule.

        Then it has no endpoints there (istiod, ``mtlsChecker.checkMtlsEnabled``, ``EndpointsWithMTLSFilter``).
        """
        if not self._overrides.states_tls(context, exported.service.fqdn):
            return {}
        return self._overrides.off_for(
            context,
            mesh,
            exported.service.fqdn,
            service_namespace=exported.service.namespace,
            clients=_namespaces(context.get(self._gateways, THIS), mesh),
            ports=[port.number for port in exported.offer.ports],
        )

    def _hidden_by(self, context: Context, mesh: LocalMesh, service: Service) -> str:
        """Return what says that no namespace that sees a Service has a gateway; empty where one has.

        Where nobody knows where the gateway is, nothing does: that only makes a remark.
        """
        seen_in = meshes.seen_in(service, mesh.config)
        if seen_in is None:
            return ""
        gateways = context.known(self._gateways, THIS)
        hidden = not isinstance(gateways, Unknown) and not _namespaces(gateways, mesh) & {*seen_in}
        return meshes.seen_by(service, mesh.config) if hidden else ""

    def _holder(self, context: Context, host: str) -> ServiceHost | None:
        """Return which of the Services that claim a host has it."""
        claims = [context.get(self._claims, place) for place in context.members(self._by_host, host)]
        return holder((claim.exported, claim.created) for claim in claims if isinstance(claim, Claim))

    def _export(self, context: Context, place: Place) -> Claim | Decision | None:
        """Return what a Service is exported as, or why it is not, once it is settled who has its host."""
        claim = context.get(self._claims, place)
        if not isinstance(claim, Claim):
            return claim
        host = claim.exported.offer.host
        first = context.get(self._holders, host)
        if first is None or (first.namespace, first.name) == place:
            return claim
        return Decision(
            accepted=False,
            reason=Reason.HOST_TAKEN,
            message=f"Service {first.namespace}/{first.name} is exported as {host} already; choose another `as`",
        )

    def _answer(self, context: Context, place: Place) -> StatusUpdate | None:
        """Return what the multi-cluster services API wants to hear, where this mesh listens to it."""
        generation, export = context.get(self.service_exports, place), context.get(self._rules, THIS)
        if generation is None or export is None or not export.service_exports:
            return None
        namespace, name = place
        decided = context.get(self.decided, place)
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
        return StatusUpdate(
            kind="ServiceExport",
            namespace=namespace,
            name=name,
            observed_generation=generation,
            conditions=(valid,),
        )

    def _is_some(self, context: Context, reason: Reason) -> bool | None:
        return bool(context.members(self.by_reason, reason)) or None

    # --- outputs ----------------------------------------------------------------------------------

    @property
    def _mesh(self) -> LocalMesh | None:
        mesh = self._meshes.get(THIS)
        return None if isinstance(mesh, Unknown) else mesh

    def reconcile(self, place: Place) -> Outputs | None:
        """Return what one Service offers, and what the router in front of this mesh needs for it.

        ``None`` where that is unknown, so that everything stays as it is.
        """
        decided = self.decided.get(place)
        if isinstance(decided, Unknown):
            return None
        answer = self._answers.get(place)
        statuses = (answer,) if isinstance(answer, StatusUpdate) else ()
        if self._mesh is None or not isinstance(decided, Claim):
            self._list(place, None)
            return Outputs(export_decision=decided if isinstance(decided, Decision) else None, statuses=statuses)
        exported = decided.exported
        self._list(place, exported)
        return Outputs(
            objects=tuple(_beside_gateway(self._mesh, decided)),
            export=Published(offer=exported.offer, audience=exported.audience),
            export_decision=described(decided),
            remarks=remarks(decided),
            statuses=statuses,
        )

    def _list(self, place: Place, exported: Exported | None) -> None:
        """Have a Gateway list a Service that is exported with whatever ports it has, and no Gateway any other."""
        by_port = exported is not None and exported.by_port
        if exported is None or by_port:
            shard = self._shards.release(place)
            if shard is not None:
                self._moved(shard)
        elif self._shards.shard_of(place) is None:
            self._moved(self._shards.assign(place))
        if by_port:
            self._by_port.add(place)
        else:
            self._by_port.discard(place)

    def gateway(self, index: int) -> Outputs:
        """Return one of the Gateways; the first is always there, for the discovery service."""
        if self._mesh is None:
            return Outputs()
        hosts = self._shards.hosts(index, self._mesh.cluster_domain)
        if index == 0:
            hosts = (self._mesh.fds_host, *hosts)
        if not hosts:
            return Outputs()
        return Outputs(
            objects=(istio.gateway(self._mesh, index, hosts),),
            after=frozenset(GatewayKey(former) for former in self._shards.former(index)),
        )

    def gateway_in_place(self, index: int) -> None:
        """Take note that one of the Gateways is in the cluster as `gateway` says, or gone where that says nothing."""
        self._shards.left(index)

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

    def ports(self, context: Context) -> int:
        """Return how many ports are exported."""
        numbers = context.get(self._ports, THIS) or {}
        return sum(ports * services for ports, services in numbers.items())

    def is_listed(self, place: Place) -> bool:
        """Whether the gateway passes a Service on, or did when this began."""
        return place in self._by_port or self._shards.shard_of(place) is not None

    def gateway_in(self, context: Context, mesh: LocalMesh) -> list[str]:
        """Return the namespaces of the gateway, sorted: where it would be by default, if it is nowhere yet."""
        known = context.known(self._gateways, THIS)
        return sorted(_namespaces(None if isinstance(known, Unknown) else known, mesh))

    def gateways(self, context: Context) -> tuple[int, ...]:
        """Return the numbers of the Gateways there are."""
        known = context.get(self._gateways_in_use, THIS)
        return known or (0,)

    def left_out(self, context: Context) -> dict[Reason, Sequence[str]]:
        """Return who is left out though somebody may expect it, by reason, sorted."""
        return {
            reason: Listed(context.members(self.by_reason, reason), "/".join)
            for reason in context.members(self._reasons, THIS)
            if reason is not Reason.EXPORTED
        }

    def names(self, context: Context) -> Sequence[str]:
        """Return who is exported, sorted, with whatever is out of the ordinary about that."""

        def named(place: Place) -> str:
            decided = context.known(self.decided, place)
            return shown(place, decided)

        return Listed(context.members(self.by_reason, Reason.EXPORTED), named)

    def why(self, context: Context, name: str) -> str:
        """Return why the Service of that name, as `left_out` has it, is not exported, or which ports of it are not."""
        namespace, _, service = name.partition("/")
        decided = context.known(self.decided, (namespace, service))
        if isinstance(decided, Claim):
            return without_mtls(decided.plaintext)
        return decided.message if isinstance(decided, Decision) else ""

    def all(self) -> list[Place]:
        """Return the Services there are, and those that are unknown."""
        return self._services.known_keys()

    def indexes(self) -> list[int]:
        """Return the numbers of the Gateways there are; the first is always there."""
        return sorted({0, *self._shards.indexes()})


def _beside_gateway(mesh: LocalMesh, claim: Claim) -> Iterator[istio.Manifest]:
    """Yield what an export needs beside a Gateway."""
    service, by_port = claim.exported.service, claim.exported.by_port
    router = mesh.ingress_type is IngressType.OPENSHIFT_ROUTER
    for port in claim.exported.offer.ports if by_port or router else ():
        if by_port:
            yield istio.port_filter(mesh, service, port.number, listening=claim.listening)
        elif (filter_ := istio.passthrough_filter(mesh, service, port.number)) is not None:
            yield filter_
        if (route := istio.route(mesh, service, port.number)) is not None:
            yield route


def _unreachable(place: Place, plaintext: Mapping[int, str]) -> Decision:
    return Decision(
        accepted=False,
        reason=Reason.MTLS_DISABLED,
        message=f"Service {'/'.join(place)}: {without_mtls(plaintext)}, and the gateway passes on nothing else; set "
        "PERMISSIVE in a PeerAuthentication, ISTIO_MUTUAL in a DestinationRule, or do not export it",
    )


def _host_of(_place: Place, claim: Claim | Decision) -> tuple[str, ...]:
    return (claim.exported.offer.host,) if isinstance(claim, Claim) else ()


def _ports_of(_place: Place, decided: Claim | Decision) -> tuple[str, int]:
    return THIS, len(decided.exported.offer.ports) if isinstance(decided, Claim) else 0


def _namespaces(known: frozenset[str] | None, mesh: LocalMesh) -> frozenset[str]:
    """Return where the gateway is: where it would be by default, if it is nowhere yet."""
    return known or frozenset({mesh.control_plane_namespace})
