"""Exports: which Services this mesh offers, under which host, and to whom.

The answer depends on one Service, what is behind it, its Namespace's labels and the MeshFederation alone, so a change
to one Service never asks about another. What two Services claim together (one host, by alias) is settled by ``holder``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from meshfed.api.core import Service, ServicePort
from meshfed.api.v1alpha1 import Export, ExportRule
from meshfed.federation.ports import LeftOut, Ruled, ruled, unmatched
from meshfed.federation.protection import (
    is_api_server,
    is_discovery_service,
    is_protected_namespace,
    names_outright,
)
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh
from meshfed.model.names import ServiceHost, glob_matches
from meshfed.model.offers import MAX_IDENTITIES, Offer, Port, Refusal, checked
from meshfed.model.reasons import Decision, Reason
from meshfed.model.selectors import LabelSelector

_PROTOCOLS: Final = {
    "http": "HTTP",
    "http_proxy": "HTTP",
    "http2": "HTTP2",
    "https": "HTTPS",
    "grpc": "GRPC",
    "tls": "TLS",
    "tcp": "TCP",
    "mongo": "MONGO",
    "mysql": "MYSQL",
    "redis": "REDIS",
    "kubernetes.io/h2c": "HTTP2",
    "kubernetes.io/ws": "HTTP",
    "kubernetes.io/wss": "HTTPS",
}
_SERVER_SPEAKS_FIRST: Final = frozenset({25, 53, 3306, 27017})
"""Ports that Istio never sniffs: it would wait for a client that waits for the server (istio, ``pkg/config/kube``)."""


class Exported(msgspec.Struct, frozen=True):
    """A Service that is offered: its own name, the offer, and the remotes that may see it (``None``: all).

    ``by_port``: the gateway may pass on the offered ports alone, since a rule with `ports` leaves others out or would.
    ``selected_by`` says in words what of the MeshFederation selects it, ``rule`` which export rule does (0: none).
    """

    service: ServiceHost
    offer: Offer
    audience: frozenset[str] | None = None
    left_out: tuple[LeftOut, ...] = ()
    by_port: bool = False
    selected_by: str = ""
    rule: int = 0


def decide(
    mesh: LocalMesh,
    export: Export | None,
    service: Service,
    namespace_labels: Mapping[str, str],
    *,
    has_service_export: bool = False,
    accounts: Collection[str] = (),
) -> Exported | Decision:
    """Decide whether ``service`` is exported, and as what; a Decision says why it is not.

    ``accounts`` are the service accounts of whatever is behind it, an empty one that of something that states none.
    """
    meta = service.metadata
    ports = _ports(service.spec.ports)
    chosen = _chosen(mesh, export, service, ports, namespace_labels, has_service_export=has_service_export)
    if isinstance(chosen, Decision):
        return chosen
    if service.spec.type == "ExternalName":
        return Decision(
            accepted=False,
            reason=Reason.EXTERNAL_NAME,
            message=f"Service {meta.namespace}/{meta.name} is of type ExternalName, which has no endpoints to reach",
        )
    if not ports:
        held = ", ".join(sorted({port.protocol for port in service.spec.ports})) or "none at all"
        return Decision(
            accepted=False,
            reason=Reason.NO_USABLE_PORTS,
            message=f"Service {meta.namespace}/{meta.name} has no TCP port to export (its ports: {held})",
        )
    own = ServiceHost(name=meta.name, namespace=meta.namespace, domain=mesh.cluster_domain)
    rule = chosen.rule
    alias = rule.as_ if rule is not None else None
    offered = own
    if alias is not None:
        offered = ServiceHost(
            name=alias.name or own.name, namespace=alias.namespace or own.namespace, domain=mesh.cluster_domain
        )
    offer = Offer(
        host=offered.fqdn,
        ports=chosen.ports,
        labels=dict(sorted(meta.labels.items())),
        identities=_identities(mesh, meta.namespace, accounts),
        sni_host="" if offered == own else own.fqdn,
    )
    judged = checked(offer, mesh.trust_domain)
    if isinstance(judged, Refusal):
        return Decision(accepted=False, reason=Reason.INVALID, message=judged.message)
    audience = frozenset(rule.remotes) if rule is not None and rule.remotes is not None else None
    return Exported(
        own,
        offer,
        audience,
        left_out=chosen.left_out,
        by_port=chosen.by_port,
        selected_by=_selected_by(export, chosen.number, has_service_export=has_service_export),
        rule=chosen.number,
    )


def _selected_by(export: Export | None, rule: int, *, has_service_export: bool) -> str:
    """Return what an exported Service is selected by, in words."""
    if export is None:
        return ""
    if export.service_exports and has_service_export:
        return f"its ServiceExport, and export rule {rule}" if rule else "its ServiceExport"
    if rule:
        return f"export rule {rule}"
    selectors = {
        "`export.serviceSelectors`": export.service_selectors,
        "`export.namespaceSelectors`": export.namespace_selectors,
    }
    named = [field for field, selector in selectors.items() if selector is not None]
    return " and ".join(named) or "`export`, which takes every Service"


def _chosen(
    mesh: LocalMesh,
    export: Export | None,
    service: Service,
    ports: tuple[Port, ...],
    namespace_labels: Mapping[str, str],
    *,
    has_service_export: bool,
) -> Ruled[ExportRule] | Decision:
    """Return the rule and the ports by which the Service is exported, else why it is not."""
    meta = service.metadata
    shown = f"Service {meta.namespace}/{meta.name}"
    if export is None:
        return _refused(Reason.NOT_SELECTED, f"{shown} is not exported: the MeshFederation has no `export`")
    if is_discovery_service(meta.name):
        return _refused(Reason.NOT_SELECTED, f"{shown} is a discovery service, which other meshes know anyway")
    chosen = ruled(export.rules, ports, lambda rule: _matches(rule, service), called="export rule")
    rule = chosen.rule
    if rule is None and chosen.number:
        return _refused(Reason.DENIED_BY_RULE, f"{shown} is denied by export rule {chosen.number} (`export.rules`)")
    if export.service_exports and has_service_export:
        return chosen
    if export.rules and rule is None:
        message = f"{shown} matches none of the {len(export.rules)} export rules{unmatched(chosen)}"
        return _refused(Reason.DENIED_BY_RULE, message)
    if export.service_selectors is not None and not export.service_selectors.matches(meta.labels):
        return _refused(Reason.NOT_SELECTED, f"{shown} does not match `export.serviceSelectors`")
    if export.namespace_selectors is not None and not export.namespace_selectors.matches(namespace_labels):
        return _refused(Reason.NOT_SELECTED, f"namespace {meta.namespace} does not match `export.namespaceSelectors`")
    if not _is_asked_for(mesh, export, rule, meta.namespace, meta.name):
        return _refused(
            Reason.PROTECTED_NAMESPACE,
            f"{shown} is left out of an export of everything, to protect the cluster itself; to export it, name its "
            f"namespace without a wildcard in `namespaces` of an export rule"
            + (" and it in `names`" if is_api_server(meta.namespace, meta.name) else "")
            + ", or select it by a label",
        )
    return chosen


def _identities(mesh: LocalMesh, namespace: str, accounts: Collection[str]) -> tuple[str, ...]:
    """Return who serves a Service, or nobody where not all of them can be stated: the others would be refused."""
    if "" in accounts or len(accounts) > MAX_IDENTITIES:
        return ()
    return tuple(sorted(str(SpiffeID.of_workload(mesh.trust_domain, namespace, account)) for account in accounts))


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)


def _matches(rule: ExportRule, service: Service) -> bool:
    meta = service.metadata
    return (
        (rule.namespaces is None or any(glob_matches(glob, meta.namespace) for glob in rule.namespaces))
        and (rule.names is None or any(glob_matches(glob, meta.name) for glob in rule.names))
        and (rule.labels is None or rule.labels.matches(meta.labels))
    )


def _is_asked_for(mesh: LocalMesh, export: Export, rule: ExportRule | None, namespace: str, name: str) -> bool:
    """Whether a Service in a protected place was meant, and not just not excluded."""
    of_api_server = is_api_server(namespace, name)
    if not of_api_server and not is_protected_namespace(mesh, namespace):
        return True
    selectors = (export.service_selectors, export.namespace_selectors, rule.labels if rule is not None else None)
    if any(_requires_a_label(selector) for selector in selectors):
        return True
    return (
        rule is not None
        and names_outright(rule.namespaces, namespace)
        and (not of_api_server or names_outright(rule.names, name))
    )


def _requires_a_label(selector: LabelSelector | None) -> bool:
    """Whether only what somebody labelled can match: a selector that merely excludes chooses nothing."""
    return selector is not None and (
        bool(selector.match_labels)
        or any(requirement.operator in {"In", "Exists"} for requirement in selector.match_expressions)
    )


def _ports(ports: Iterable[ServicePort]) -> tuple[Port, ...]:
    """Return the TCP ports as they are offered, by number."""
    offered = [
        Port(
            number=port.port,
            name=port.name or f"port-{port.port}",
            protocol=protocol(port),
            target_port=port.target_port if isinstance(port.target_port, int) else 0,
        )
        for port in ports
        if port.protocol == "TCP"
    ]
    return tuple(sorted(offered, key=lambda port: port.number))


def protocol(port: ServicePort) -> str:
    """Return what Istio takes a Service's port to speak; empty where it would find out by itself.

    ``appProtocol`` decides, else the name, bare or up to its first dash (istio, ``pkg/config/kube.ConvertProtocol``).
    """
    text = (port.app_protocol or port.name).lower()
    if text.startswith("grpc-web"):
        return "GRPC-WEB"
    known = _PROTOCOLS.get(text) or _PROTOCOLS.get(text.partition("-")[0], "")
    if not known and port.port in _SERVER_SPEAKS_FIRST:
        return "TCP"
    return known


def holder(claims: Iterable[tuple[Exported, str]]) -> ServiceHost | None:
    """Which of several Services that would be offered under one host is: ``claims`` pair each with its creation time.

    A Service under its own name comes before an alias, then the older one, then the one whose name sorts first.
    """
    ranked = sorted((bool(exported.offer.sni_host), created, exported.service) for exported, created in claims)
    return ranked[0][2] if ranked else None
