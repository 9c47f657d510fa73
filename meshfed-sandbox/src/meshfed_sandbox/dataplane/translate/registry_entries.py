"""Hosts of ServiceEntries: their endpoints, and the virtual addresses of those that have none."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec

from meshfed_sandbox.dataplane.translate import protocols, schema
from meshfed_sandbox.dataplane.translate.names import NETWORK, selects
from meshfed_sandbox.dataplane.translate.reading import Object
from meshfed_sandbox.dataplane.translate.registry import Endpoint, Port, Service, Workload, selected
from meshfed_sandbox.dataplane.translate.registry_kubernetes import Sources, of_entry, order, set_of
from meshfed_sandbox.dataplane.values import Untranslatable

ALLOCATED: Final = ipaddress.ip_network("240.240.0.0/16")


def services(sources: Sources, objects: Iterable[Object[schema.ServiceEntrySpec]]) -> list[Service]:
    """The hosts of ServiceEntries, each by itself; oldest first.

    Raises ``Untranslatable`` for what istiod would have refused to accept, and for what is not translated.
    """
    found = [host for each in objects for host in _services(sources, each)]
    addresses = allocate(each.host for each in found if not each.addresses and "*" not in each.host)
    return [msgspec.structs.replace(each, allocated=addresses.get(each.host, "")) for each in found]


def allocate(hosts: Iterable[str]) -> dict[str, str]:
    """A virtual address for each host, from 240.240.0.0/16: by the host's hash, the next free one where it is taken.

    Hosts are settled in order of their names, so that a host keeps its address unless it collides with another.
    """
    taken: dict[int, str] = {}
    for host in sorted(set(hosts)):
        place = int.from_bytes(hashlib.sha256(host.encode()).digest()[:8]) % (ALLOCATED.num_addresses - 2)
        while place in taken:
            place = (place + 1) % (ALLOCATED.num_addresses - 2)
        taken[place] = host
    return {host: str(ALLOCATED[place + 1]) for place, host in taken.items()}


def _services(sources: Sources, entry: Object[schema.ServiceEntrySpec]) -> list[Service]:
    spec, namespace = entry.spec, entry.meta.namespace
    _check(entry)
    ports = tuple(_port(entry, index, port) for index, port in enumerate(spec.ports))
    addresses = list(spec.endpoints)
    workloads: list[Workload] = []
    if spec.workload_selector is not None:
        labels = spec.workload_selector.labels
        addresses = [each.spec for each in selected(sources.entries, namespace, labels)]
        workloads = [
            each
            for each in sources.pods.values()
            if labels and each.namespace == namespace and selects(labels, each.labels) and each.ready and each.address
        ]
    endpoints = {
        port.name: tuple(
            sorted(
                set_of(
                    [
                        *(of_entry(sources.settings, each, namespace, _number(port, each)) for each in addresses),
                        *(_of_pod(sources, each, port) for each in workloads),
                    ]
                ),
                key=order,
            )
        )
        for port in ports
    }
    return [
        Service(
            host=host.lower(),
            namespace=namespace,
            kubernetes=False,
            resolution="dns" if spec.resolution == "DNS" else "endpoints",
            addresses=tuple(spec.addresses),
            ports=ports,
            endpoints=endpoints if spec.endpoints or spec.workload_selector else _itself(spec, ports, host),
            external=spec.location == "MESH_EXTERNAL",
            accounts=tuple(spec.subject_alt_names),
            export_to=tuple(spec.export_to) or sources.settings.default_service_export_to,
            age=entry.age,
        )
        for host in spec.hosts
    ]


def _itself(spec: schema.ServiceEntrySpec, ports: Iterable[Port], host: str) -> dict[str, tuple[Endpoint, ...]]:
    """Without endpoints, DNS is asked for the host itself."""
    if spec.resolution != "DNS":
        return {port.name: () for port in ports}
    return {port.name: (Endpoint(address=host, port=_target(port)),) for port in ports}


def _target(port: Port) -> int:
    return port.target if isinstance(port.target, int) else port.number


def _number(port: Port, entry: schema.WorkloadEntrySpec) -> int:
    return entry.ports.get(port.name, 0) or _target(port)


def _of_pod(sources: Sources, pod: Workload, port: Port) -> Endpoint:
    entry = schema.WorkloadEntrySpec(
        address=pod.address, labels=dict(pod.labels), locality=sources.localities.get(pod.node, "")
    )
    return msgspec.structs.replace(
        of_entry(sources.settings, entry, pod.namespace, _target(port)),
        account=pod.account,
        network=pod.labels.get(NETWORK) or sources.settings.network,
    )


def _port(entry: Object[schema.ServiceEntrySpec], index: int, port: schema.EntryPort) -> Port:
    try:
        protocol = protocols.parse(port.protocol)
    except protocols.Unsupported:
        raise Untranslatable(f"{entry}: spec.ports[{index}].protocol: {port.protocol} is not translated") from None
    return Port(number=port.number, name=port.name, protocol=protocol, target=port.target_port or port.number)


def _check(entry: Object[schema.ServiceEntrySpec]) -> None:
    """Istio's validation, where proxies would be told nonsense without it."""
    spec = entry.spec
    if spec.workload_selector is not None and spec.endpoints:
        raise Untranslatable(f"{entry}: spec.workloadSelector and spec.endpoints exclude each other")
    if spec.workload_selector is not None and spec.resolution != "STATIC":
        raise Untranslatable(f"{entry}: spec.resolution: {spec.resolution} with a workloadSelector is not translated")
    for what, values in (
        ("number", [port.number for port in spec.ports]),
        ("name", [port.name for port in spec.ports]),
    ):
        if len(set(values)) < len(values):
            raise Untranslatable(f"{entry}: spec.ports: two ports have the same {what}")
    for index, address in enumerate(spec.addresses):
        if not is_ip(address):
            raise Untranslatable(f"{entry}: spec.addresses[{index}]: {address} is no IP; ranges are not translated")
    for index, host in enumerate(spec.hosts):
        if "*" in host and spec.resolution == "DNS" and not spec.endpoints:
            raise Untranslatable(f"{entry}: spec.hosts[{index}]: {host} cannot be resolved by DNS")
    for index, endpoint in enumerate(spec.endpoints):
        if not endpoint.address or (spec.resolution == "STATIC" and not is_ip(endpoint.address)):
            raise Untranslatable(
                f"{entry}: spec.endpoints[{index}].address: {endpoint.address or '(none)'} is no IP, "
                f"which resolution {spec.resolution} needs"
            )


def is_ip(address: str) -> bool:
    """Whether an address is a literal one."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
