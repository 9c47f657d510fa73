"""The importer's links of a chain: what its mesh says of one host that a remote offers, or should offer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.times import timestamp
from meshfed.api.v1alpha1 import FederatedService, RemoteMesh
from meshfed.federation.imports import record_name
from meshfed.model.names import ServiceHost
from meshfed.model.reasons import RESERVED, ConditionType, Reason
from meshfed.plan.meshes import remote as remote_of
from meshfed.views.ages import age
from meshfed.views.connections import Hearing, OffersKnown, connection, offers_known
from meshfed.views.controllers import controller
from meshfed.views.explain.links import ChainLink, LinkName, Whose, after, broken, ok, unknown, warning
from meshfed.views.explain.parts import MeshDescription, Part, Told, of_ips, of_remote
from meshfed.views.explain.seen import Seen, mapping
from meshfed.views.snapshot import Document, find
from meshfed.views.withdrawn import withdrawn

_NO_CONTROLLER: Final = "no controller has looked at it yet"
_SEE_STATUS: Final = "see with `meshfed status` whether a controller runs there"
_WHOSE: Final = {
    Reason.PERMISSION_DENIED: Whose.EXPORTER,
    Reason.UNREACHABLE: Whose.EITHER,
    Reason.INVALID_PORTS: Whose.EXPORTER,
    Reason.IDENTITY_UNKNOWN: Whose.EITHER,
    Reason.PORT_CONFLICT: Whose.EITHER,
    Reason.NAME_NOT_RESOLVED: Whose.IMPORTER,
    Reason.NOT_PASSED_ON: Whose.EITHER,  # the wrong port leads to somebody who closes it as well
    Reason.NO_CERTIFICATE: Whose.EXPORTER,
    Reason.CERTIFICATE_NOT_VALID: Whose.EXPORTER,
    Reason.NAME_TOO_LONG: Whose.EXPORTER,
    Reason.GATEWAY_NOT_REACHED: Whose.EITHER,
    Reason.NO_MUTUAL_TLS: Whose.EITHER,
    Reason.ROOT_NOT_TRUSTED: Whose.EITHER,
    Reason.UNEXPECTED_IDENTITY: Whose.EITHER,
}
"""Whose side it is to mend, where that is not the importer's alone."""
_REMEDIES: Final[dict[str, str]] = {
    Reason.DENIED_BY_RULE: "have a rule of `import.rules` of the RemoteMesh that is asked before import it",
}
"""What to do, where the controller's message does not say it."""
_NOT_FOR_ALL: Final = frozenset({Reason.MTLS_DISABLED, Reason.SNI_OVERRIDDEN})
"""Reasons of what is accepted, and is not reached by clients of some namespace."""
_AUTO_ALLOCATE: Final = "networking.istio.io/enable-autoallocate-ip"


def importer_part(seen: Seen, host: str, remote: str) -> Part:
    """Return what an importer says of what a remote offers under a host, by the name of its RemoteMesh."""
    known, record = seen.remote(remote), seen.record(remote, host)
    return Part(
        whose=Whose.IMPORTER,
        mesh=seen.mesh,
        remote=of_remote(known) if known is not None else MeshDescription(remote),
        host=host,
        taken=timestamp(seen.snapshot.taken),
        links=tuple(_links(seen, known, record, remote, host)),
        told=_recorded(record) if record is not None else None,
        imported_as=imported_as(record) if record is not None else "",
        ways=of_ips(remote_of(known).addresses) if known is not None else (),
    )


def imported_as(record: FederatedService) -> str:
    """Return the host that an offer is imported as; empty where it is not."""
    accepted = find(record.status.conditions, ConditionType.ACCEPTED)
    return record.status.imported_as if accepted is not None and accepted.status == "True" else ""


def _recorded(record: FederatedService) -> Told:
    spec = record.spec
    return Told(ports=spec.ports, identities=spec.identities, sni_host=spec.sni_host)


def _links(
    seen: Seen, known: RemoteMesh | None, record: FederatedService | None, remote: str, host: str
) -> Iterator[ChainLink]:
    yield connected(seen, known, remote, is_recorded=record is not None)
    yield received(seen, known, record, remote, host)
    rest = (LinkName.WRITTEN, LinkName.RESOLVED, LinkName.REACHED, LinkName.IDENTITY)
    if record is None:
        yield from after((LinkName.ACCEPTED, *rest), LinkName.RECEIVED)
        return
    yield accepted(record)
    if not imported_as(record):
        yield from after(rest, LinkName.ACCEPTED)
        return
    yield written(seen, record)
    yield resolved(seen, record)
    yield reached(record, known)
    yield identity(seen, record)


def connected(seen: Seen, known: RemoteMesh | None, remote: str, *, is_recorded: bool) -> ChainLink:
    """Return whether this mesh hears the remote, and imports from it; what is recorded already stays meanwhile."""
    name = LinkName.CONNECTED
    if why := seen.why_unread("RemoteMesh"):
        return unknown(name, why)
    if known is None:
        remedy = "create the RemoteMesh, named as the other mesh's MeshFederation is"
        return broken(name, f"there is no RemoteMesh {remote}", Reason.REMOTE_MISSING, remedy=remedy)
    if known.spec.import_ is None:
        message = f"RemoteMesh {remote} has no `import`: nothing is imported from it"
        return broken(
            name, message, Reason.PUBLISH_ONLY, remedy=f"set `import` of RemoteMesh {remote}, maybe with rules"
        )
    ready = find(known.status.conditions, ConditionType.READY)
    if ready is not None and ready.status == "False" and ready.reason in {Reason.NAME_CONFLICT, Reason.MTLS_DISABLED}:
        return broken(name, ready.message, ready.reason)
    found = connection(known, recorded=is_recorded)
    condition = found.condition
    if condition is None:
        return unknown(name, _NO_CONTROLLER, remedy=_SEE_STATUS)
    match found.hearing:
        case Hearing.HEARD:
            return ok(name, condition.message, condition.reason)
        case Hearing.KEPT:
            return warning(name, condition.message, condition.reason)
        case Hearing.UNKNOWN:
            return unknown(name, condition.message, condition.reason)
    tried = find(known.status.conditions, ConditionType.REACHABLE)
    is_seen = condition.reason == Reason.UNREACHABLE and tried is not None and tried.status == "False"
    return _not_held(name, tried if is_seen and tried is not None else condition)  # a handshake tells more


def _not_held(name: LinkName, condition: StatusCondition) -> ChainLink:
    """Return a link as a condition that is not True has it."""
    if condition.status == "Unknown":
        return unknown(name, condition.message, condition.reason)
    whose = next((side for reason, side in _WHOSE.items() if reason == condition.reason), Whose.IMPORTER)
    return broken(name, condition.message, condition.reason, remedy=_REMEDIES.get(condition.reason, ""), whose=whose)


def received(
    seen: Seen, known: RemoteMesh | None, record: FederatedService | None, remote: str, host: str
) -> ChainLink:
    """Return whether what the remote offers is recorded here; that it is not offered takes that all was heard."""
    name = LinkName.RECEIVED
    if why := seen.why_unread("FederatedService"):
        return unknown(name, why)
    if record is not None:
        spec = record.spec
        if spec.problem:
            return broken(name, spec.problem, Reason.INVALID_PORTS, whose=Whose.EXPORTER)
        held = known.status.held_services if known is not None else 0
        note = f"; {held} services that {remote} withdrew at once are held" if held else ""
        since = f", first offered {age(spec.first_offered, seen.snapshot.taken)} ago" if spec.first_offered else ""
        return ok(name, f"FederatedService {record.metadata.name}{since}{note}")
    if known is None or known.spec.import_ is None:
        return unknown(name, f"it depends on `{LinkName.CONNECTED}`")
    whole, synced = offers_known(known), find(known.status.conditions, ConditionType.SYNCED)
    if whole is not OffersKnown.COMPLETE:
        why = f": {synced.message}" if synced is not None and whole is OffersKnown.NOT_YET else ""
        message = f"whether {remote} offers it to this mesh is not known" + (
            why or f": it depends on `{LinkName.CONNECTED}`, or a controller that says"
        )
        return unknown(name, message, synced.reason if synced is not None and why else "")
    at_work = controller(seen.snapshot)
    if at_work.alive is False:
        return unknown(name, f"whether {remote} offers it to this mesh is not known: no controller is at work here")
    heard = age(at_work.renewed, seen.snapshot.taken) if at_work.renewed else ""
    said = f"its list is complete{f', as of {heard} ago' if heard else ''}"
    message = f"not offered to this mesh by {remote} ({said}){_uncounted(known)}; {_before(seen, host, remote)}"
    remedy = (
        f"at {remote}: `meshfed explain` with this host says there by which rule it is left out; it has to be selected "
        "by `export` of the MeshFederation, and `remotes` of a rule must not leave this mesh out"
    )
    return broken(name, message, remedy=remedy, whose=Whose.EXPORTER)


def _uncounted(known: RemoteMesh) -> str:
    """Return that more may be offered than can be seen, in words; empty where that is not so."""
    status = known.status
    refused = status.denied_services + status.refused_services
    if not refused:
        return ""
    verb = "is" if refused == 1 else "are"
    return f", but {refused} of its {status.offered_services} offers {verb} not imported, and such need not be recorded"


def _before(seen: Seen, host: str, remote: str) -> str:
    """Return what is known of the time before: that the remote withdrew it, or that nothing is."""
    at = withdrawn(seen.snapshot).get(record_name(host, remote))
    if at is not None:
        return f"{remote} withdrew it {age(at, seen.snapshot.taken)} ago ({at})"
    if why := seen.why_unread("Event"):
        return f"whether it was withdrawn is not known: {why}"
    return "no Event tells that it was withdrawn, and Events are kept for an hour"


def accepted(record: FederatedService) -> ChainLink:
    """Return whether the offer is imported, as the controller said, which names the rule."""
    name = LinkName.ACCEPTED
    condition = find(record.status.conditions, ConditionType.ACCEPTED)
    if condition is None:
        return unknown(name, _NO_CONTROLLER, remedy=_SEE_STATUS)
    if condition.status == "True" and condition.reason in _NOT_FOR_ALL:
        return broken(name, condition.message, condition.reason)
    if condition.status != "True":
        return _not_held(name, condition)
    holds = warning if condition.reason in RESERVED else ok
    return holds(name, condition.message, condition.reason)


def written(seen: Seen, record: FederatedService) -> ChainLink:
    """Return whether the objects of an import are in place: as the controller said, and as they were read."""
    name = LinkName.WRITTEN
    condition = find(record.status.conditions, ConditionType.APPLIED)
    if condition is None:
        return unknown(name, _NO_CONTROLLER, remedy=_SEE_STATUS)
    if condition.reason == Reason.PENDING:
        return unknown(name, condition.message, condition.reason)
    if condition.status != "True":
        return _not_held(name, condition)
    gone = [one for one in record.status.objects if _is_gone(seen, one)]
    if gone:
        remedy = f"a controller puts it back: {_SEE_STATUS}"
        return broken(name, f"{', '.join(gone)} is not there", Reason.PENDING, remedy=remedy)
    return ok(name, condition.message, condition.reason)


def _is_gone(seen: Seen, named: str) -> bool:
    kind, _, place = named.partition(" ")
    namespace, _, name = place.partition("/")
    return not seen.why_unread(kind) and seen.object(kind, namespace, name) is None


def resolved(seen: Seen, record: FederatedService) -> ChainLink:
    """Return whether clients get an address for the host: of its Service, or one that istiod allocates.

    istiod writes it into ``status.addresses`` of a ServiceEntry (``IPAllocator``); a sidecar answers with it where it
    captures DNS.
    """
    name, host = LinkName.RESOLVED, record.status.imported_as
    own = ServiceHost.parse(host, seen.cluster_domain)
    if own is not None and seen.service((own.namespace, own.name)) is not None:
        return ok(name, f"as Service {own.namespace}/{own.name} of this mesh, which has the host too")
    if why := seen.why_unread("ServiceEntry"):
        return unknown(name, why)
    found = seen.entry(host)
    if found is None:
        return broken(name, f"neither a Service nor a ServiceEntry has {host}", remedy=_SEE_STATUS)
    spec = mapping(found.get("spec"))
    limited = [one for one in spec.get("exportTo") or () if one != "*"]
    seen_in = f"; only clients in {', '.join(limited)} know it (`import.exportTo`)" if limited else ""
    addresses = spec.get("addresses") or _allocated(found)
    if addresses:
        return ok(name, f"as {', '.join(map(str, addresses))}, where the client's sidecar captures DNS{seen_in}")
    message = f"no address is in `status.addresses` of its ServiceEntry{seen_in}"
    if str(mapping(mapping(found.get("metadata")).get("labels")).get(_AUTO_ALLOCATE)) == "false":
        return unknown(name, f"{message}, as its label {_AUTO_ALLOCATE} asks")
    if any(_allocated(one) for one in seen.snapshot.of_kind("ServiceEntry")):
        remedy = "istiod gives others one: wait a moment, then look for its words on this one in its log"
        return broken(name, message, remedy=remedy)
    remedy = "see that istiod allocates addresses, and the client's sidecar captures DNS (`ISTIO_META_DNS_CAPTURE`)"
    return unknown(name, message, remedy=remedy)


def _allocated(found: Document) -> list[Any]:
    addresses = mapping(found.get("status")).get("addresses") or ()
    return [mapping(one).get("value") for one in addresses if mapping(one).get("value")]


def reached(record: FederatedService, known: RemoteMesh | None) -> ChainLink:
    """Return whether a handshake was answered, with the controller's evidence.

    A gateway that passes the remote's controller on is the right one: what else it does not pass on is its own mesh's.
    """
    name = LinkName.REACHED
    condition = find(record.status.conditions, ConditionType.REACHABLE)
    if condition is None:
        return unknown(name, "nobody has tried the way yet")
    if condition.status == "True":
        return ok(name, condition.message, condition.reason)
    link = _not_held(name, condition)
    tried = find(known.status.conditions, ConditionType.REACHABLE) if known is not None else None
    is_right = condition.reason == Reason.NOT_PASSED_ON and tried is not None and tried.status == "True"
    return msgspec.structs.replace(link, whose=Whose.EXPORTER) if is_right else link


def identity(seen: Seen, record: FederatedService) -> ChainLink:
    """Return who may answer callers of the host, and as whom these are seen there."""
    name = LinkName.IDENTITY
    federation = seen.federation
    if federation is None:
        return unknown(name, "there is no MeshFederation, which says what this mesh's trust domain is")
    ready = find(federation.status.conditions, ConditionType.READY)
    if ready is not None and ready.reason == Reason.TRUST_DOMAIN_MISMATCH:
        return broken(name, ready.message, ready.reason)
    found = seen.entry(record.status.imported_as)
    stated = mapping((found or {}).get("spec")).get("subjectAltNames") if found is not None else record.spec.identities
    who = ", ".join(map(str, stated or ())) or "whoever has a certificate of a trusted root"
    return ok(name, f"{who} may answer; callers are {federation.spec.trust_domain}/ns/<namespace>/sa/<account> to it")
