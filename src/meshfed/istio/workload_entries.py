"""WorkloadEntry: endpoints in other meshes, joined to a Service that this mesh has too.

istiod treats a WorkloadEntry as a pod of every Service in its namespace whose selector matches its labels. It has no
way to say that such a "pod" is a gateway of another mesh, so what a local Service cannot express is refused here with
a reason, rather than written and left to fail for a share of the calls.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from meshfed.istio.metadata import MANAGED_BY, NETWORKING, Manifest, manifest, present
from meshfed.istio.names import RESOLVED_FROM, workload_name
from meshfed.model.identity import SpiffeID
from meshfed.model.imports import Backend, Import, LocalPort, LocalService
from meshfed.model.meshes import GatewayAddress, LocalMesh, Remote, is_ip
from meshfed.model.offers import MAX_PORT_NAME, TLS_MODE
from meshfed.model.reasons import Decision, Reason


def workload_entries(
    mesh: LocalMesh, import_: Import, service: LocalService, resolved: Mapping[str, Sequence[str]]
) -> list[Manifest] | Decision:
    """The endpoints of all backends of ``import_``, for ``service``: each IP, port and announced account, by name.

    ``resolved`` has the IPs of the remotes' addresses that are names; a backend none of whose addresses is known
    contributes nothing, and where that leaves nothing at all the answer is UNRESOLVED. A refusal of one backend
    refuses them all: pass an import of one backend at a time to judge each by itself.
    """
    refusal = _unusable(service) or _wrong_host(import_, service)
    if refusal is not None:
        return refusal
    entries: list[Manifest] = []
    for backend in import_.backends:
        keys = _port_keys(service, offered={port.number for port in import_.ports} - backend.without)
        if isinstance(keys, Decision):
            return keys
        accounts = _accounts(mesh, backend, service)
        if isinstance(accounts, Decision):
            return accounts
        ips = _ips(backend.remote, resolved)
        entries += [
            _entry(mesh, service, backend.remote, keys=keys, address=address, names=ips[address], account=account)
            for address, account in _places(sorted(ips), sorted(accounts))
        ]
    if not entries:
        return _refused(Reason.UNRESOLVED, _unresolved_message(import_))
    return sorted(entries, key=lambda entry: str(entry["metadata"]["name"]))


def last_answers(entries: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, tuple[str, ...]]:
    """What the names of remotes resolved to last, as entries of ours have it in their address and annotations."""
    known: dict[str, set[str]] = {}
    for address, said in entries:
        if is_ip(address):
            for name in filter(None, said.get(RESOLVED_FROM, "").split(",")):
                known.setdefault(name, set()).add(address)
    return {name: tuple(sorted(addresses)) for name, addresses in known.items()}


def _entry(
    mesh: LocalMesh,
    service: LocalService,
    remote: Remote,
    *,
    keys: Iterable[str],
    address: GatewayAddress,
    names: Sequence[str],
    account: str,
) -> Manifest:
    entry = manifest(
        mesh,
        api_version=NETWORKING,
        kind="WorkloadEntry",
        name=workload_name(service.host.fqdn, remote, address, account),
        namespace=service.host.namespace,
        spec=present(
            address=address.host,
            ports=dict.fromkeys(keys, address.port),
            labels={**dict(sorted(service.selector.items())), TLS_MODE: "istio"},
            network=remote.network,
            locality=remote.locality,
            serviceAccount=account,
        ),
    )
    if MANAGED_BY in service.selector:
        # istiod lays these labels over those in the spec, and the selector would not match any more.
        del entry["metadata"]["labels"][MANAGED_BY]
    if names:
        # A controller that restarts while DNS is silent finds here what it knew.
        entry["metadata"]["annotations"] = {RESOLVED_FROM: ",".join(names)}
    return entry


def _unusable(service: LocalService) -> Decision | None:
    """Services of these kinds take no WorkloadEntries at all."""
    if service.external_name:
        why = "is of type ExternalName, which has no endpoints"
    elif service.headless:
        why = "is headless (clusterIP None), and Istio adds no WorkloadEntry to those"
    elif not service.selector:
        why = "has no selector, and Istio finds WorkloadEntries by it"
    elif service.visible_in == ():
        why = f"is seen by no namespace, as {service.visible_by} says"
    else:
        return None
    return _refused(Reason.LOCAL_SERVICE_UNUSABLE, f"local Service {_shown(service)} {why}")


def _wrong_host(import_: Import, service: LocalService) -> Decision | None:
    """A local Service's endpoints are called by its own SNI, so the exporter has to answer to that."""
    host = service.host.fqdn
    for known in (import_.host, *(backend.sni_host for backend in import_.backends)):
        if known != host:
            return _refused(
                Reason.SNI_CONFLICT,
                f"local Service {_shown(service)} is called as {host}, but the exporter's gateway knows {known}; "
                "import it under a host that no local Service has",
            )
    return None


def _port_keys(service: LocalService, offered: set[int]) -> list[str] | Decision:
    """The names under which istiod looks up the ports of a WorkloadEntry for ``service``, sorted.

    (``serviceInstanceFromWorkloadInstance``:) the targetPort where that is a name, and without such a port no
    endpoint; else the Service port's name, and without such a port the targetPort's *number*, which at a gateway's
    address leads nowhere. So a numeric targetPort that is not offered, or whose port has no name, is refused.
    """
    keys = {_key(port) for port in service.ports if port.number in offered}
    if not keys:
        return _refused(
            Reason.LOCAL_SERVICE_UNUSABLE,
            f"local Service {_shown(service)} and the offered one ({_listed(offered)}) have no port in common",
        )
    if "" in keys:
        return _refused(
            Reason.LOCAL_SERVICE_UNUSABLE,
            f"local Service {_shown(service)} has a port without a name, for which Istio would dial the targetPort's "
            "number at the remote's gateway; give the port a name",
        )
    longest = max(keys, key=lambda key: (len(key), key))
    if len(longest) > MAX_PORT_NAME:
        return _refused(
            Reason.LOCAL_SERVICE_UNUSABLE,
            f"port name {longest} of local Service {_shown(service)} is longer than the {MAX_PORT_NAME} "
            "characters that a WorkloadEntry takes",
        )
    for port in service.ports:
        if port.number not in offered and (_key(port) in keys or not isinstance(port.target_port, str)):
            return _refused(
                Reason.LOCAL_SERVICE_UNUSABLE,
                f"local Service {_shown(service)} has port {port.number}, which is not imported ({_listed(offered)} "
                "are), and Istio would send its calls to the remote's gateway all the same; export it there and import "
                "it, or give it a targetPort with a name of its own here",
            )
    return sorted(keys)


def _key(port: LocalPort) -> str:
    return port.target_port if isinstance(port.target_port, str) else port.name


def _accounts(mesh: LocalMesh, backend: Backend, service: LocalService) -> set[str] | Decision:
    """The service accounts to state for ``backend``; the empty one, for none, where nothing was announced.

    For a host that a local Service has, a client's proxy expects one of the accounts of its endpoints: istiod reads a
    WorkloadEntry's as ``spiffe://<our trust domain>/ns/<its namespace>/sa/<serviceAccount>``
    (``convertWorkloadEntryToWorkloadInstance``), and has the client accept it in every alias of that trust domain too
    (``PushContext.addServiceAccounts``, ``spiffe.ExpandWithTrustDomains``).
    """
    remote = backend.remote
    if not backend.identities:
        if remote.trust_domain in mesh.trust_domains:
            return {""}
        return _refused(
            Reason.IDENTITY_MISMATCH,
            f"remote {remote.name} announced no identities for {_shown(service)} and its trust domain is "
            f"{remote.trust_domain}, not {' or '.join(mesh.trust_domains)}: proxies here would refuse its certificates"
            + _aliases_unread(mesh),
        )
    accounts: set[str] = set()
    for announced in backend.identities:
        identity = SpiffeID.parse(announced)
        workload = identity.workload if identity is not None and identity.trust_domain in mesh.trust_domains else None
        if workload is None or workload[0] != service.host.namespace:
            return _refused(
                Reason.IDENTITY_MISMATCH,
                f"{_shown(service)} is served by {announced} in {remote.name}, but a WorkloadEntry can state only "
                + " or ".join(f"spiffe://{domain}/ns/{service.host.namespace}/sa/..." for domain in mesh.trust_domains)
                + _aliases_unread(mesh),
            )
        accounts.add(workload[1])
    return accounts


def _aliases_unread(mesh: LocalMesh) -> str:
    unread = mesh.config.unread
    return f"; whether the trust domain here has aliases is unknown: {unread}" if unread else ""


def _ips(remote: Remote, resolved: Mapping[str, Sequence[str]]) -> dict[GatewayAddress, list[str]]:
    """The known IPs of ``remote``, in their canonical form, each with the names that it is an answer for, sorted."""
    known: dict[GatewayAddress, list[str]] = {}
    for host, port in sorted((address.host, address.port) for address in remote.addresses):
        for answer in (host,) if is_ip(host) else resolved.get(host, ()):
            names = known.setdefault(GatewayAddress(str(ipaddress.ip_address(answer)), port), [])
            if not is_ip(host):
                names.append(host)
    return known


def _places(addresses: Sequence[GatewayAddress], accounts: Sequence[str]) -> list[tuple[GatewayAddress, str]]:
    """Where to state what: each address once, and each account once.

    istiod has a client accept any account of any of the Service's endpoints (``EndpointShards.ServiceAccounts``), and
    a proxy takes an address that comes twice for one. So there is no need for every account at every address, with
    which a remote that announces many would have us write many times as many objects.
    """
    first, *others = accounts
    return [(address, first) for address in addresses] + [(addresses[0], other) for other in others if addresses]


def _unresolved_message(import_: Import) -> str:
    remotes = sorted({backend.remote.name for backend in import_.backends})
    names = sorted({address.host for backend in import_.backends for address in backend.remote.addresses})
    if not names:
        return f"no address is known of {', '.join(remotes)}; set spec.addresses of the RemoteMesh"
    return f"{', '.join(names)} of {', '.join(remotes)} could not be resolved yet"


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)


def _shown(service: LocalService) -> str:
    return f"{service.host.namespace}/{service.host.name}"


def _listed(ports: set[int]) -> str:
    return ", ".join(map(str, sorted(ports)))
