"""The exporter's links of a chain: what its mesh says of one Service towards one remote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from meshfed.api.times import timestamp
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Port
from meshfed.model.reasons import RESERVED, ConditionType, Reason
from meshfed.plan import ExportKey, Remarks
from meshfed.plan.claims import EXPECTED
from meshfed.views.explain.links import ChainLink, LinkName, State, Whose, after, broken, ok, unknown, warning
from meshfed.views.explain.parts import MeshDescription, Part, Told, of_ips, of_remote
from meshfed.views.explain.seen import Seen, is_ours, mapping, place, shown
from meshfed.views.exports import ExportView
from meshfed.views.gateways import VIEW, gateway_pods, network_view
from meshfed.views.snapshot import Document, find

Place = tuple[str, str]
_MAY_HIDE: Final = ("Pod", "EndpointSlice", "WorkloadEntry")
_SHOWN: Final = 3
_NOT_SELECTED: Final = EXPECTED | {Reason.PROTECTED_NAMESPACE}
"""Why a Service is not exported that nothing selects."""


def exporter_part(seen: Seen, host: str, remote: str) -> Part:
    """Return what an exporter says of a host towards a remote, by the name of its RemoteMesh."""
    known = seen.remote(remote)
    at = seen.place_of(host)
    told = is_told(seen, host, remote)
    exported = seen.export(at) if at is not None else None
    return Part(
        whose=Whose.EXPORTER,
        mesh=seen.mesh,
        remote=of_remote(known) if known is not None else MeshDescription(remote),
        host=host,
        taken=timestamp(seen.snapshot.taken),
        links=tuple(_links(seen, at, host, remote)),
        told=_told(seen, exported) if told and exported is not None else None,
        service="/".join(at) if at is not None else "",
        ways=of_ips(seen.ways),
    )


def is_told(seen: Seen, host: str, remote: str) -> bool:
    """Whether a remote's controller is told of a host."""
    return host in seen.plan.offered.get(remote, ())


def _told(seen: Seen, exported: ExportView) -> Told:
    own = ServiceHost(exported.name, exported.namespace, seen.cluster_domain).fqdn
    return Told(
        ports=exported.ports,
        identities=None if seen.why_unread(*_MAY_HIDE) else exported.identities,
        sni_host="" if exported.host == own else own,
    )


def _links(seen: Seen, at: Place | None, host: str, remote: str) -> Iterator[ChainLink]:
    is_there = service(seen, at, host)
    yield is_there
    rest = (LinkName.EXPORTED, LinkName.SERVED, LinkName.GATEWAY, LinkName.OFFERED, LinkName.POLICY)
    exported = seen.export(at) if at is not None else None
    if exported is None or at is None or is_there.state is not State.OK:
        yield from after((LinkName.SELECTED, *rest), LinkName.SERVICE)
        return
    is_selected = selected(seen, exported)
    yield is_selected
    if is_selected.state is not State.OK:
        yield from after(rest, LinkName.SELECTED)
        return
    yield as_what(seen, exported)
    if not exported.exported:
        yield from after(rest[1:], LinkName.EXPORTED)
        return
    yield served(seen, at)
    yield gateway(seen, at)
    yield offered(seen, exported, remote)
    yield policy(seen, at)


def service(seen: Seen, at: Place | None, host: str) -> ChainLink:
    """Return whether the Service is there."""
    name = LinkName.SERVICE
    if why := seen.why_unread("Service"):
        return unknown(name, why)
    if at is None:
        message = f"{host} is no Service of this mesh, and none is offered under it"
        return broken(name, message, Reason.NO_SERVICE, remedy="export a Service under that host with a rule's `as`")
    found = seen.service(at)
    if why := seen.why_not_understood("Service", *at):
        return unknown(name, why, Reason.NOT_UNDERSTOOD)
    if found is None:
        message = f"there is no Service {'/'.join(at)}"
        return broken(name, message, Reason.NO_SERVICE, remedy="create it, or ask for another name")
    ports = [f"{port.get('port')} {port.get('name', '')}".strip() for port in found.get("spec", {}).get("ports") or ()]
    return ok(name, f"Service {'/'.join(at)}, port {', '.join(ports) or '-'}")


def selected(seen: Seen, exported: ExportView) -> ChainLink:
    """Return whether the Service is exported, and by which rule, as the controller decides it."""
    name = LinkName.SELECTED
    if why := seen.why_unread("MeshFederation"):
        return unknown(name, why)
    if seen.federation is None:
        message = f"there is no MeshFederation in namespace {seen.snapshot.namespace}"
        return broken(name, message, Reason.NO_MESH_FEDERATION, remedy="create one, or name another with --namespace")
    if exported.exported:
        return ok(name, f"by {_remarks(seen, exported).selected_by}", Reason.EXPORTED)
    if exported.reason not in _NOT_SELECTED:
        return ok(name, "`export` of the MeshFederation selects it")
    why = seen.why_unread("ServiceExport", "Namespace")
    remedy = {
        Reason.NOT_SELECTED: "give it, or its Namespace, the labels that `export` of the MeshFederation asks for",
        Reason.DENIED_BY_RULE: "have an export rule of the MeshFederation that is asked before export it",
    }.get(Reason(exported.reason), "")
    return (
        unknown(name, f"{exported.message}; but {why}")
        if why
        else broken(name, exported.message, exported.reason, remedy=remedy)
    )


def _remarks(seen: Seen, exported: ExportView) -> Remarks:
    return seen.plan.remarks.get((exported.namespace, exported.name), Remarks())


def as_what(seen: Seen, exported: ExportView) -> ChainLink:
    """Return as what the Service is exported, and what keeps it from being reached."""
    if not exported.exported:
        return broken(LinkName.EXPORTED, exported.message, exported.reason)
    remarks = _remarks(seen, exported)
    flaws = [flaw for flaw in remarks.flaws if flaw is not Reason.NO_MESH_ENDPOINTS]  # that is another link
    who = ", ".join(exported.identities) or "nobody who is known"
    message = f"as {exported.host}, port {ports(exported.ports)}, served by {who}"
    if flaws:
        return broken(LinkName.EXPORTED, f"{message}; {remarks.message}", flaws[0], remedy=_FLAWS.get(flaws[0], ""))
    return ok(LinkName.EXPORTED, message)


_FLAWS: Final = {
    Reason.NAME_TOO_LONG: "export it under a shorter name with a rule's `as`",
    Reason.MTLS_DISABLED: "set PERMISSIVE there, or leave the port out with a rule's `ports`",
    Reason.HIDDEN_FROM_GATEWAY: "name the gateway's namespace there too",
}


def ports(found: Sequence[Port]) -> str:
    """Return ports in words."""
    return ", ".join(f"{port.number}/{port.protocol or 'any'}" for port in found) or "-"


def served(seen: Seen, at: Place) -> ChainLink:
    """Return whether somebody with a sidecar is ready behind the Service."""
    name = LinkName.SERVED
    if why := seen.why_unread("Pod"):
        return unknown(name, why)
    selector = _selector(seen, at)
    if Reason.NO_MESH_ENDPOINTS in seen.plan.remarks.get(at, Remarks()).flaws:
        message = "none of its endpoints has a sidecar, so the gateway has nobody to send to"
        remedy = "have the sidecar injected and the pods restarted, or do not export it"
        return broken(name, message, Reason.NO_MESH_ENDPOINTS, remedy=remedy)
    if not selector:
        return unknown(name, "the Service has no selector: whatever its EndpointSlices name serves it")
    found = [one for one in seen.workloads(at[0], selector) if one.in_mesh]
    if not any(one.ready for one in found):
        message = "no pod with a sidecar is ready behind it" if found else "no pod is behind it"
        remedy = f"see the pods that `selector` of Service {'/'.join(at)} selects, and why they are not ready"
        return broken(name, message, Reason.NO_MESH_ENDPOINTS, remedy=remedy)
    ready = sum(one.ready for one in found)
    return ok(name, f"{ready} of {len(found)} with a sidecar {'is' if ready == 1 else 'are'} ready behind it")


def _selector(seen: Seen, at: Place) -> dict[str, str]:
    return mapping(mapping((seen.service(at) or {}).get("spec")).get("selector"))


def gateway(seen: Seen, at: Place) -> ChainLink:
    """Return whether the gateway has what it needs to pass the Service on, and is ready."""
    name = LinkName.GATEWAY
    condition = find(seen.federation.status.conditions, ConditionType.GATEWAY_READY) if seen.federation else None
    wanted = gateway_objects(seen, at)
    if why := seen.why_unread(*(str(one.get("kind")) for one in wanted)):
        return unknown(name, why)
    own = ServiceHost(at[1], at[0], seen.cluster_domain).fqdn
    missing = [shown(one) for one in wanted if not _stands(seen, one, own)]
    exporting = find(seen.federation.status.conditions, ConditionType.EXPORTS_READY) if seen.federation else None
    if missing:
        failed = exporting if exporting is not None and exporting.status == "False" else condition
        said = f"; {failed.type}: {failed.message}" if failed is not None and failed.status == "False" else ""
        reason = failed.reason if said and failed is not None else Reason.PENDING
        remedy = "" if said else "see with `meshfed status` whether a controller runs there, and what keeps it"
        return broken(name, f"{', '.join(missing)} should have it pass {own} on{said}", reason, remedy=remedy)
    if condition is None:
        return unknown(name, "no controller has said how the gateway stands")
    if condition.status == "False":
        return broken(name, condition.message, condition.reason)
    if elsewhere := _told_of_others(seen):
        return elsewhere
    if condition.status == "Unknown":
        return unknown(name, condition.message, condition.reason)
    holds = warning if condition.reason in RESERVED else ok
    return holds(name, f"{', '.join(map(shown, wanted))} passes it on; {condition.message}", condition.reason)


def _told_of_others(seen: Seen) -> ChainLink | None:
    """Return that a pod of the gateway is told of other networks alone, so that it knows of no endpoint here."""
    if seen.federation is None:
        return None
    network = seen.federation.spec.network
    for pod in gateway_pods(seen.snapshot, seen.federation):
        view = network_view(pod)
        if view is not None and network not in view:
            return broken(
                LinkName.GATEWAY,
                f"Pod {'/'.join(place(pod))} has {VIEW}={','.join(view)}: it knows of nobody in network {network}, and "
                "closes what comes in",
                remedy=f"set {VIEW}={network} in its environment",
            )
    return None


def gateway_objects(seen: Seen, at: Place) -> tuple[Document, ...]:
    """Return the objects, as they should be, by which the gateway passes a Service on."""
    own = ServiceHost(at[1], at[0], seen.cluster_domain).fqdn
    return (*seen.wanted(ExportKey(*at)), *(one for one in seen.gateways if own in _hosts(one)))


def _stands(seen: Seen, wanted: Document, own: str) -> bool:
    found = seen.object(str(wanted.get("kind")), *place(wanted))
    return found is not None and (wanted.get("kind") != "Gateway" or own in _hosts(found))


def _hosts(gateway: Document) -> list[Any]:
    servers = mapping(gateway.get("spec")).get("servers")
    return [host for server in servers or () for host in mapping(server).get("hosts") or ()]


def offered(seen: Seen, exported: ExportView, remote: str) -> ChainLink:
    """Return whether a remote may see what is exported, and hears of it."""
    name = LinkName.OFFERED
    if why := seen.why_unread("RemoteMesh"):
        return unknown(name, why)
    known = seen.remote(remote)
    if known is None:
        remedy = "create the RemoteMesh, named as the other mesh's MeshFederation is"
        message = f"there is no RemoteMesh{f' {remote}' if remote else ''} here: its controller would be refused"
        return broken(name, message, Reason.REMOTE_MISSING, remedy=remedy)
    if why := seen.why_not_understood("RemoteMesh", seen.snapshot.namespace, remote):
        return unknown(name, why, Reason.NOT_UNDERSTOOD)
    unique = find(known.status.conditions, ConditionType.IDENTITY_UNIQUE)
    if not is_told(seen, exported.host, remote):
        if unique is not None and unique.reason == Reason.IDENTITY_AMBIGUOUS:
            return broken(name, unique.message, unique.reason)
        message = f"`remotes` of the rule that exports it do not name RemoteMesh {remote}"
        return broken(name, message, Reason.DENIED_BY_RULE, remedy=f"add {remote} to `remotes` of that export rule")
    if unique is not None and unique.reason == Reason.IDENTITY_SHADOWED:
        return broken(name, unique.message, unique.reason, whose=Whose.EITHER)
    subscribed = find(known.status.conditions, ConditionType.SUBSCRIBED)
    if subscribed is None:
        return ok(name, f"RemoteMesh {remote} may see it; whether it subscribes, nobody says here")
    if subscribed.status == "False":
        remedy = f"see at {remote} with `meshfed remotes` whether it is connected, and imports from here"
        return unknown(name, subscribed.message, subscribed.reason, remedy=remedy)  # it may want to hear nothing
    if subscribed.status == "Unknown":
        return ok(name, f"RemoteMesh {remote} may see it; {subscribed.message}", subscribed.reason)
    return ok(name, f"RemoteMesh {remote} is told of it; {subscribed.message}", subscribed.reason)


def policy(seen: Seen, at: Place) -> ChainLink:
    """Return which AuthorizationPolicies may say no to a request; whether one does, is not seen.

    As ``AuthorizationPolicies.ListAuthorizationPolicies``: those of the workload's namespace and of Istio's root
    namespace, of which the selector's labels are among the workload's; one that targets something else by
    ``targetRefs`` does not count for a sidecar.
    """
    name = LinkName.POLICY
    if why := seen.why_unread("AuthorizationPolicy"):
        return unknown(name, f"{why}; one that selects the workload may say 403")
    mesh = seen.plan.mesh
    root = mesh.root_namespace if mesh is not None else seen.snapshot.namespace
    found = [one for one in seen.snapshot.of_kind("AuthorizationPolicy") if not is_ours(one)]
    labels = [dict(one.labels) for one in seen.workloads(at[0], _selector(seen, at))] or [_selector(seen, at)]
    selecting = [_policy(one) for one in found if place(one)[0] in {root, at[0]} and _selects(one, labels)]
    if not selecting:
        return ok(name, "no AuthorizationPolicy selects its pods")
    more = f" and {len(selecting) - _SHOWN} more" if len(selecting) > _SHOWN else ""
    verb = "select its pods, and" if len(selecting) > 1 else "selects its pods, and"
    message = f"AuthorizationPolicy {', '.join(selecting[:_SHOWN])}{more} {verb} may say 403 to a request"
    return unknown(
        name, message, remedy="compare `principals` with the caller's identity, of the caller's trust domain"
    )


def _policy(document: Document) -> str:
    action = mapping(document.get("spec")).get("action") or "ALLOW"
    return f"{'/'.join(place(document))} ({action})"


def _selects(document: Document, workloads: Sequence[dict[str, str]]) -> bool:
    spec = mapping(document.get("spec"))
    if spec.get("targetRef") or spec.get("targetRefs"):
        return False
    wanted = mapping(mapping(spec.get("selector")).get("matchLabels")).items()
    return any(wanted <= labels.items() for labels in workloads)
