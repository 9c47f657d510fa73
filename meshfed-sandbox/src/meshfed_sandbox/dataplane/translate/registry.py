"""The service registry: which hosts there are in the mesh, on which ports, and who answers for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from meshfed_sandbox.dataplane.translate import schema
from meshfed_sandbox.dataplane.translate.names import TLS_MODE, selects, visible
from meshfed_sandbox.dataplane.translate.protocols import Protocol
from meshfed_sandbox.dataplane.translate.reading import Object
from meshfed_sandbox.dataplane.values import MeshSettings


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a service. ``target`` is where a Pod listens: a number, or the name of a container's port."""

    number: int
    name: str
    protocol: Protocol
    target: int | str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One who answers for a port. ``account`` is its identity, or empty; ``mutual`` whether it takes mTLS."""

    address: str
    port: int
    labels: Mapping[str, str] = {}
    namespace: str = ""
    network: str = ""
    locality: str = ""
    account: str = ""
    mutual: bool = False
    weight: int = 0
    hostname: str = ""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A host of the mesh, of a Service or of a ServiceEntry.

    ``resolution``: ``endpoints`` are known (EDS), asked of ``dns``, or are the addresses that are dialled
    (``original``: headless). ``addresses`` are virtual, and may be none; ``allocated`` is the virtual address that
    proxies with DNS capture use where there are none. ``endpoints`` are by port name.
    """

    host: str
    namespace: str
    kubernetes: bool
    resolution: Literal["endpoints", "dns", "original"]
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]
    endpoints: Mapping[str, Sequence[Endpoint]]
    external: bool = False
    accounts: tuple[str, ...] = ()
    export_to: tuple[str, ...] = ()
    selector: Mapping[str, str] = {}
    allocated: str = ""
    age: tuple[str, str, str] = ("", "", "")

    def virtual_addresses(self, *, dns_capture: bool) -> tuple[str, ...]:
        """What a proxy's application dials for this host; empty where it dials something else."""
        if self.addresses or not dns_capture or not self.allocated:
            return self.addresses
        return (self.allocated,)

    def identities(self, settings: MeshSettings) -> list[str]:
        """The identities of which a server has to prove one: of all endpoints, and those that are stated; sorted.

        Each also in every alias of the trust domain (``spiffe.ExpandWithTrustDomains``). None: any will do.
        """
        stated = {*self.accounts, *(each.account for ports in self.endpoints.values() for each in ports)} - {""}
        for identity in tuple(stated):
            parts = identity.split("/")
            if identity.startswith("spiffe://") and len(parts) == 7:
                stated |= {"/".join([*parts[:2], alias, *parts[3:]]) for alias in settings.trust_domain_aliases}
        return sorted(stated)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A Pod, as far as others have to know it."""

    namespace: str
    name: str
    address: str
    labels: Mapping[str, str]
    account: str
    ready: bool
    node: str
    ports: Mapping[str, int]


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts of a mesh, oldest first, one for each host, and what istiod would say about others it left out."""

    services: tuple[Service, ...]
    workloads: Mapping[tuple[str, str], Workload]
    warnings: tuple[str, ...]

    def seen_from(self, namespace: str) -> list[Service]:
        """The services that proxies in a namespace are told of."""
        return [each for each in self.services if visible(each.export_to, each.namespace, namespace)]


def takes_mutual(entry: schema.WorkloadEntrySpec) -> bool:
    """Whether an entry's address takes mTLS: its label says so, else because it has a service account."""
    mode = entry.labels.get(TLS_MODE)
    return mode == "istio" if mode is not None else bool(entry.service_account)


def one_for_each_host(services: Iterable[Service]) -> tuple[tuple[Service, ...], tuple[str, ...]]:
    """Of several services of one host only one counts: a Service, else the oldest ServiceEntry; the rest is reported.

    What has the same host in one namespace shares its endpoints, as istiod keeps those by host and namespace: a
    ServiceEntry's are a Service's too.
    """
    ordered = sorted(services, key=lambda each: (not each.kubernetes, each.age))
    kept: dict[str, Service] = {}
    warnings = []
    for service in ordered:
        first = kept.setdefault(service.host, service)
        if first is service:
            continue
        winner = "a Service" if first.kubernetes else f"the older ServiceEntry {first.namespace}/{first.age[1]}"
        warning = f"ServiceEntry {service.namespace}/{service.age[1]}: host {service.host} is ignored: {winner} has it"
        if first.namespace == service.namespace and service.resolution == "endpoints":
            kept[service.host] = msgspec.structs.replace(first, endpoints=_joined(first.endpoints, service.endpoints))
            warning += "; its endpoints are added to those"
        warnings.append(warning)
    return tuple(sorted(kept.values(), key=lambda each: each.age)), tuple(warnings)


def _joined(
    one: Mapping[str, Sequence[Endpoint]], other: Mapping[str, Sequence[Endpoint]]
) -> dict[str, list[Endpoint]]:
    return {name: [*endpoints, *other.get(name, ())] for name, endpoints in one.items()}


def selected(
    objects: Iterable[Object[schema.WorkloadEntrySpec]], namespace: str, selector: Mapping[str, str]
) -> list[Object[schema.WorkloadEntrySpec]]:
    """The WorkloadEntries of a namespace whose labels a selector, which is not empty, matches."""
    return [
        each
        for each in objects
        if selector and each.meta.namespace == namespace and selects(selector, each.spec.labels)
    ]
