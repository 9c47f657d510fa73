"""What names resolve to inside a mesh: cluster DNS, and the DNS that a proxy answers itself."""

from __future__ import annotations

from collections.abc import Mapping

from meshfed_sandbox.dataplane.translate.mesh import Mesh
from meshfed_sandbox.dataplane.values import ProxyIdentity


def names(mesh: Mesh, proxy: ProxyIdentity) -> Mapping[str, tuple[str, ...]]:
    """The addresses of every name that the Pod of ``proxy`` can resolve, lower case and without a trailing dot.

    Services by their full names, as cluster DNS has them: the virtual address, or the endpoints' of a headless one,
    each of those also by its own host name. ServiceEntries only where the proxy answers DNS; a host without an address
    has one that was allocated.
    """
    found: dict[str, tuple[str, ...]] = {}
    for service in mesh.registry.services:
        if service.resolution == "original":
            endpoints = [each for ports in service.endpoints.values() for each in ports]
            found[service.host] = tuple(sorted({each.address for each in endpoints}))
            for each in endpoints:
                if each.hostname:
                    found[f"{each.hostname}.{service.host}"] = (each.address,)
        elif service.kubernetes:
            found[service.host] = service.addresses
    if proxy.dns_port:
        for service in mesh.registry.seen_from(proxy.namespace):
            if not service.kubernetes:
                found.setdefault(service.host, service.virtual_addresses(dns_capture=True))
    return {name: addresses for name, addresses in sorted(found.items()) if addresses}
