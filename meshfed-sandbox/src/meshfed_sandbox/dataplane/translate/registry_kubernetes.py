"""Hosts of Services: their ports, and the Pods and WorkloadEntries behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from meshfed_sandbox.dataplane.translate import protocols, schema
from meshfed_sandbox.dataplane.translate.names import EXPORT_TO, NETWORK, TLS_MODE, selects, spiffe
from meshfed_sandbox.dataplane.translate.reading import Object
from meshfed_sandbox.dataplane.translate.registry import Endpoint, Port, Service, Workload, selected, takes_mutual
from meshfed_sandbox.dataplane.values import MeshSettings, ProxyIdentity, Untranslatable


def workloads(
    settings: MeshSettings, pods: Iterable[tuple[Object[schema.PodSpec], schema.PodStatus]]
) -> dict[tuple[str, str], Workload]:
    """The Pods, by namespace and name."""
    found = {}
    for pod, status in pods:
        spec = pod.spec
        found[pod.meta.namespace, pod.meta.name] = Workload(
            namespace=pod.meta.namespace,
            name=pod.meta.name,
            address=status.pod_ip,
            labels=pod.meta.labels,
            account=spiffe(settings.trust_domain, pod.meta.namespace, spec.service_account_name),
            ready=pod.meta.deletion_timestamp is None
            and any(each.type == "Ready" and each.status == "True" for each in status.conditions),
            node=spec.node_name,
            ports={port.name: port.container_port for each in spec.containers for port in each.ports if port.name},
        )
    return found


SERVICE_NAME: Final = "kubernetes.io/service-name"
MULTICLUSTER_NAME: Final = "multicluster.kubernetes.io/service-name"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where endpoints come from: ``slices`` by namespace and name of the Service, ``localities`` by that of a node."""

    settings: MeshSettings
    slices: Mapping[tuple[str, str], Sequence[schema.EndpointSliceObject]]
    pods: Mapping[tuple[str, str], Workload]
    entries: Sequence[Object[schema.WorkloadEntrySpec]]
    localities: Mapping[str, str]


def services(sources: Sources, objects: Iterable[Object[schema.ServiceSpec]]) -> list[Service]:
    """The hosts of Services.

    Raises ``Untranslatable`` for a Service of type ExternalName, and for protocols that need more than is translated.
    """
    return [_service(sources, each) for each in objects]


def _service(sources: Sources, service: Object[schema.ServiceSpec]) -> Service:
    settings = sources.settings
    meta, spec = service.meta, service.spec
    if spec.type == "ExternalName":
        raise Untranslatable(f"{service}: spec.type ExternalName is not translated; use a ServiceEntry")
    headless = spec.cluster_ip in {"", "None"}
    ports = tuple(_port(service, index, port) for index, port in enumerate(spec.ports))
    endpoints: dict[str, list[Endpoint]] = {port.name: [] for port in ports}
    accounts: set[str] = set()
    for slice_ in sources.slices.get((meta.namespace, meta.name), ()):
        for port in slice_.ports or ():
            if port.port is not None:
                found = _of_slice(sources, slice_, port.port)
                endpoints.get(port.name or "", []).extend(found)
                # Also of those for a port that the Service has not (``updateShardServiceAccount``).
                accounts |= {each.account for each in found}
    if not headless:
        for entry in selected(sources.entries, meta.namespace, spec.selector or {}):
            for each in ports:
                number = entry_port(each, entry.spec.ports)
                if number and each.protocol != "udp":
                    endpoints[each.name].append(of_entry(settings, entry.spec, meta.namespace, number))
    return Service(
        host=f"{meta.name}.{meta.namespace}.svc.{settings.cluster_domain}",
        namespace=meta.namespace,
        kubernetes=True,
        resolution="original" if headless else "endpoints",
        addresses=() if headless else (spec.cluster_ip,),
        ports=ports,
        endpoints={name: tuple(sorted(set_of(found), key=order)) for name, found in endpoints.items()},
        accounts=tuple(sorted(accounts - {""})),
        export_to=_export_to(meta.annotations.get(EXPORT_TO, "")) or settings.default_service_export_to,
        selector=spec.selector or {},
        age=service.age,
    )


def _export_to(annotation: str) -> tuple[str, ...]:
    """Who sees a Service; beside ``~``, which is nobody, only ``*`` counts (``PushContext.initServiceRegistry``)."""
    found = tuple(each.strip() for each in annotation.split(",") if each.strip())
    return ("~",) if "~" in found and "*" not in found else found


def _port(service: Object[schema.ServiceSpec], index: int, port: schema.KubernetesPort) -> Port:
    try:
        protocol = protocols.of_service(port.port, port.name, port.protocol, port.app_protocol)
    except protocols.Unsupported as error:
        raise Untranslatable(
            f"{service}: spec.ports[{index}]: protocol {error} (by protocol, appProtocol or name) is not translated"
        ) from None
    return Port(number=port.port, name=port.name, protocol=protocol, target=port.target_port or port.port)


def _of_slice(sources: Sources, slice_: schema.EndpointSliceObject, port: int) -> list[Endpoint]:
    """The endpoints of a slice (``updateEndpointCacheForSlice``): one for a Pod that is not there is none."""
    found: list[Endpoint] = []
    for each in slice_.endpoints or ():
        if each.conditions.ready is False or slice_.address_type == "FQDN":
            continue
        for address in each.addresses:
            pod = _pod_at(sources, slice_.metadata.namespace, each.target_ref, address)
            if pod is not None or not _names_a_pod(each.target_ref):
                found.append(
                    Endpoint(
                        address=address,
                        port=port,
                        labels=pod.labels if pod else {},
                        namespace=pod.namespace if pod else slice_.metadata.namespace,
                        network=(pod.labels.get(NETWORK) if pod else "") or sources.settings.network,
                        locality=sources.localities.get(pod.node, "") if pod else "",
                        account=pod.account if pod else "",
                        mutual=pod is not None and pod.labels.get(TLS_MODE) == "istio",
                        hostname=each.hostname or "",
                    )
                )
    return found


def _names_a_pod(reference: schema.Reference | None) -> bool:
    return reference is not None and reference.kind == "Pod"


def _pod_at(sources: Sources, namespace: str, reference: schema.Reference | None, address: str) -> Workload | None:
    """The Pod that is named, or where none is, one of the slice's namespace that has the address (``getPod``)."""
    if reference is not None and reference.kind == "Pod":
        return sources.pods.get((reference.namespace, reference.name))
    return next((pod for pod in sources.pods.values() if (pod.namespace, pod.address) == (namespace, address)), None)


def entry_port(port: Port, named: Mapping[str, int]) -> int:
    """Where a WorkloadEntry answers for a Service's port; 0: it does not (``serviceInstanceFromWorkloadInstance``).

    A numeric targetPort is looked up under the *Service port's* name and is itself the fall-back; a named one is
    looked up under its name, without any.
    """
    if isinstance(port.target, str):
        return named.get(port.target, 0)
    return named.get(port.name, 0) or port.target if port.name else port.target


def of_entry(settings: MeshSettings, entry: schema.WorkloadEntrySpec, namespace: str, port: int) -> Endpoint:
    """The endpoint that a WorkloadEntry, or a ServiceEntry's endpoint, is for one port."""
    return Endpoint(
        address=entry.address,
        port=port,
        labels=entry.labels,
        namespace=namespace,
        network=entry.network or entry.labels.get(NETWORK, ""),
        locality=entry.locality,
        account=spiffe(settings.trust_domain, namespace, entry.service_account) if entry.service_account else "",
        mutual=takes_mutual(entry),
        weight=entry.weight,
    )


def order(endpoint: Endpoint) -> tuple[str, int, str]:
    """Sorts endpoints."""
    return (endpoint.address, endpoint.port, endpoint.account)


def set_of(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """The endpoints, each address and port once; an account more than one entry states is stated once."""
    found: dict[tuple[str, int, str], Endpoint] = {}
    for each in endpoints:
        found.setdefault((each.address, each.port, each.account), each)
    return list(found.values())


def targets(services: Iterable[Service], proxy: ProxyIdentity, ports: Mapping[str, int]) -> list[tuple[Port, int]]:
    """The ports of Services that a Pod serves, the oldest's first, with the Pod's own port numbers.

    ``ports`` are the Pod's that have names. Where no Service selects the Pod, those count that have endpoints at its
    address, whoever wrote these (``GetProxyServiceTargets``).
    """
    local = [each for each in services if each.kubernetes and each.namespace == proxy.namespace]
    selecting = [each for each in local if each.selector and selects(each.selector, proxy.labels)]
    if not selecting:
        return [
            (port, endpoint.port)
            for service in local
            for port in service.ports
            for endpoint in service.endpoints[port.name]
            if endpoint.address == proxy.address
        ]
    found = []
    for port in (port for service in selecting for port in service.ports):
        number = port.target if isinstance(port.target, int) else ports.get(port.target, 0)
        if number and port.protocol != "udp":
            found.append((port, number))
    return found
