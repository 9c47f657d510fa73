"""Imports: whether one offer of one remote is taken, with which ports, and as which host.

Only the offer, its RemoteMesh and this mesh are looked at (`judge`), then whether a local Service has that host
(`beside_local`), and which of the ports take nobody else's traffic there (`capturing`). What the offers of several
remotes mean for each other is `merging`'s business.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedServiceSpec, ImportPolicy, ImportRule
from meshfed.federation.ports import LeftOut, ruled, unmatched
from meshfed.federation.protection import (
    is_api_server,
    is_discovery_service,
    is_protected_namespace,
    names_outright,
)
from meshfed.model.imports import LocalService
from meshfed.model.meshes import LocalMesh, Remote
from meshfed.model.names import ServiceHost, glob_matches, is_dns_name, shortened
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason

_CAPTURE_NOTHING: Final = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS"})
"""Protocols that are told apart by host or SNI, so that a port of theirs takes no other host's traffic."""


class Verdict(msgspec.Struct, frozen=True):
    """What the rules make of an offer: the host it becomes (empty where none), and whether it may join others.

    ``ports`` are those that a rule takes; ``allow_tcp`` says whether they may capture traffic.
    ``identities`` are stated for who serves it; ``None`` where those count that are announced, and there have to be
    some, and an empty tuple where there need not. ``rule`` is the import rule that takes it, 0 where there are none.
    """

    decision: Decision
    host: str = ""
    merge: bool = False
    allow_tcp: bool = False
    ports: tuple[Port, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    identities: tuple[str, ...] | None = None
    rule: int = 0


def record_name(host: str, remote: str) -> str:
    """Return the name of the FederatedService that records what ``remote`` offers under ``host``."""
    return shortened(f"{host}.{remote}")


def recorded_offer(spec: FederatedServiceSpec) -> Offer:
    """Return the offer that a FederatedService records."""
    return Offer(
        host=spec.host,
        ports=spec.ports,
        labels=spec.labels,
        sni_host=spec.sni_host,
        identities=spec.identities,
        locality=spec.locality,
    )


def judge(mesh: LocalMesh, remote: Remote, rules: ImportPolicy | None, offer: Offer) -> Verdict:
    """Judge an offer that passed ``offers.checked`` by the import rules of its remote."""
    if rules is None:
        return _no(Reason.NOT_IMPORTED, f"RemoteMesh {remote.name} has no `import`: nothing is imported from it")
    service = ServiceHost.parse(offer.host, remote.cluster_domain)
    chosen = ruled(rules.rules, offer.ports, lambda rule: _matches(rule, service, offer), called="import rule")
    rule = chosen.rule
    if rule is None and chosen.number:
        return _no(
            Reason.DENIED_BY_RULE, f"{offer.host} is denied by import rule {chosen.number} of RemoteMesh {remote.name}"
        )
    if rules.rules and rule is None:
        return _no(
            Reason.DENIED_BY_RULE,
            f"{offer.host} matches none of the {len(rules.rules)} import rules of RemoteMesh {remote.name}"
            f"{unmatched(chosen)}",
        )
    named = _imported_host(remote, rule, service, offer)
    if isinstance(named, Decision):
        return Verdict(named)
    guard = _protected(mesh, rule, service, named)
    if guard is not None:
        return Verdict(guard)
    return Verdict(
        Decision(accepted=True, reason=Reason.ACCEPTED, message=f"imported as {named}"),
        host=named,
        merge=rule.merge if rule is not None and rule.merge is not None else rules.merge,
        allow_tcp=rule.allow_tcp if rule is not None and rule.allow_tcp is not None else rules.allow_tcp,
        ports=chosen.ports,
        left_out=chosen.left_out,
        identities=rule.subject_alt_names if rule is not None else None,
        rule=chosen.number,
    )


def capturing(remote: Remote, verdict: Verdict) -> tuple[LeftOut, ...]:
    """Return the ports of an accepted offer that would take other hosts' traffic, and have no leave to.

    A port of a ServiceEntry that nothing tells from others by host or SNI takes all that a client sends to that number
    where proxies capture no DNS. Beside a local Service there is no such port: clients call the Service's address.
    """
    if verdict.allow_tcp:
        return ()
    return tuple(
        LeftOut(
            port,
            Reason.TCP_NOT_ALLOWED,
            f"{port.protocol or 'no protocol stated'}: it would take all traffic on that number without DNS capture; "
            f"set `allowTCP` in `import` of RemoteMesh {remote.name} or in a rule for {verdict.host}, or have the "
            "exporter state the protocol with `appProtocol`",
        )
        for port in verdict.ports
        if port.protocol not in _CAPTURE_NOTHING
    )


def lacking(verdict: Verdict, local: LocalService) -> tuple[LeftOut, ...]:
    """Return the ports of an accepted offer that the local Service of its host does not have, if it has any."""
    known = {port.number for port in local.ports}
    why = f"Service {local.host.namespace}/{local.host.name} has no such port"
    found = tuple(
        LeftOut(port, Reason.LOCAL_SERVICE_UNUSABLE, why) for port in verdict.ports if port.number not in known
    )
    return found if len(found) < len(verdict.ports) else ()


def _no(reason: Reason, message: str) -> Verdict:
    return Verdict(_refused(reason, message))


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)


def _matches(rule: ImportRule, service: ServiceHost | None, offer: Offer) -> bool:
    if rule.hosts is not None and not any(glob_matches(glob, offer.host) for glob in rule.hosts):
        return False
    if rule.namespaces is not None and (
        service is None or not any(glob_matches(glob, service.namespace) for glob in rule.namespaces)
    ):
        return False
    return rule.labels is None or rule.labels.matches(offer.labels)


def _imported_host(
    remote: Remote, rule: ImportRule | None, service: ServiceHost | None, offer: Offer
) -> str | Decision:
    """Return the host that the offer becomes in this mesh."""
    alias = rule.as_ if rule is not None else None
    if alias is None:
        if service is None:
            return _refused(
                Reason.INVALID_HOST,
                f"{offer.host} is not <name>.<namespace>.svc.{remote.cluster_domain}; where it is meant, "
                f"an import rule's `as` can say what it becomes",
            )
        return offer.host
    if service is None and "{" in alias.host:
        return _refused(
            Reason.INVALID_HOST,
            f"{offer.host} is not <name>.<namespace>.svc.{remote.cluster_domain}, so `as.host: {alias.host}` "
            f"has nothing to put in; write the host in full",
        )
    host = alias.host
    if service is not None:
        host = host.replace("{name}", service.name).replace("{namespace}", service.namespace)
    if not is_dns_name(host) or "." not in host:
        return _refused(Reason.INVALID_HOST, f"`as.host: {alias.host}` makes {host}, which is not a DNS name")
    return host


def _place(host: str) -> tuple[str, str] | None:
    """Return the (namespace, name) that ``host`` would speak for, in whatever domain."""
    labels = host.split(".")
    if len(labels) == 2 or labels[2] == "svc":
        return labels[1], labels[0]
    return None


def _protected(mesh: LocalMesh, rule: ImportRule | None, service: ServiceHost | None, host: str) -> Decision | None:
    """Return why ``host`` may not be imported into its place; ``None`` where it may."""
    place = _place(host)
    if place is None:
        return None
    namespace, name = place
    if is_discovery_service(name):
        return _refused(Reason.PROTECTED_NAMESPACE, f"{host} is the host of a discovery service, never an import")
    of_api_server = is_api_server(namespace, name)
    if not of_api_server and not is_protected_namespace(mesh, namespace):
        return None
    if rule is not None and _names_place(rule, service, namespace, host, only_host=of_api_server):
        return None
    what = f"{name}.{namespace} is the Kubernetes API" if of_api_server else f"namespace {namespace} is protected"
    remedy = "`hosts`" if of_api_server else "`namespaces` or `hosts`"
    return _refused(
        Reason.PROTECTED_NAMESPACE,
        f"{what}: to import {host} all the same, name it without a wildcard in {remedy} of an import rule",
    )


def _names_place(rule: ImportRule, service: ServiceHost | None, namespace: str, host: str, *, only_host: bool) -> bool:
    """Whether the rule names the protected place outright, rather than just not excluding it."""
    if rule.as_ is not None:
        written = _place(rule.as_.host)
        if rule.as_.host == host or (not only_host and written is not None and written[0] == namespace):
            return True
    if names_outright(rule.hosts, service.fqdn if service is not None else host):
        return True
    return not only_host and names_outright(rule.namespaces, namespace)


def beside_local(
    remote: Remote, verdict: Verdict, local: ServiceHost, *, selector_shared_with: str = ""
) -> Decision | None:
    """Return why an accepted offer may not join the local Service of its host; ``None`` where it may.

    ``selector_shared_with`` names who else would pick the remote's endpoints up. Whether Istio can
    express the join at all is for `istio.workload_entries` to say.
    """
    service = f"{local.namespace}/{local.name}"
    if not verdict.merge:
        return _refused(
            Reason.LOCAL_SERVICE_EXISTS,
            f"Service {service} exists in this mesh; set `merge` in `import` of RemoteMesh {remote.name}, or in a rule "
            f"for {verdict.host}, for both to serve it",
        )
    if selector_shared_with:
        return _refused(
            Reason.SELECTOR_SHARED,
            f"the selector of {selector_shared_with} matches all that that of Service {service} does, so it would take "
            "the remote's endpoints too; make it more specific",
        )
    return None


def unidentified(remote: Remote, host: str) -> Decision:
    """Refuse an offer beside others whose accounts are known, since nobody knows who serves it.

    istiod has a client accept the accounts of all endpoints of a Service together (``PushContext.ServiceAccounts``). So
    whoever has another one is refused, at every connection.
    """
    return _refused(
        Reason.IDENTITY_UNKNOWN,
        f"RemoteMesh {remote.name} does not say who serves {host}, and callers here accept none but the accounts of "
        "its other endpoints: let the remote's controller announce identities, or state who it is there in "
        "`subjectAltNames` of an import rule",
    )
