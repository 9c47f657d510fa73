"""What istiod reports, and passes over: objects of which a part, or all, has no effect."""

from __future__ import annotations

from meshfed_sandbox.dataplane.translate.destination_rules import host
from meshfed_sandbox.dataplane.translate.gateways import doors
from meshfed_sandbox.dataplane.translate.mesh import Mesh
from meshfed_sandbox.dataplane.values import ProxyIdentity


def warnings_of(mesh: Mesh) -> tuple[str, ...]:
    """A sentence for each, sorted: hosts that another object has, servers of Gateways that are skipped, rules that an
    older one for the same host replaces, ports on which a client cannot tell hosts apart; and objects that would do
    something in a cluster, and nothing here.
    """
    found = {*mesh.registry.warnings, *_gateways(mesh), *_rules(mesh), *_ports(mesh), *mesh.without_effect}
    return tuple(sorted(found))


def _gateways(mesh: Mesh) -> list[str]:
    found = []
    for workload in mesh.registry.workloads.values():
        proxy = ProxyIdentity(
            kind="gateway",
            namespace=workload.namespace,
            pod=workload.name,
            labels=workload.labels,
            service_account="",
            address=workload.address,
        )
        found += doors(mesh, proxy)[1]
    return found


def _rules(mesh: Mesh) -> list[str]:
    first: dict[tuple[str, str], str] = {}
    found = []
    for rule in mesh.destination_rules:
        key = (rule.meta.namespace, host(mesh, rule))
        older = first.setdefault(key, str(rule))
        if older != str(rule):
            found.append(f"{rule}: is ignored: the older {older} is for host {key[1]} too")
    return found


def _ports(mesh: Mesh) -> list[str]:
    """TCP ports of hosts without an address: a proxy without DNS capture sends all of them to the first."""
    first: dict[int, str] = {}
    found = []
    for service in mesh.registry.services:
        if service.addresses or service.resolution == "original":
            continue
        for port in service.ports:
            if port.protocol not in {"tcp", "auto"}:
                continue
            winner = first.setdefault(port.number, service.host)
            if winner != service.host:
                found.append(
                    f"host {service.host}: port {port.number} is TCP without an address, as that of {winner} is: "
                    f"proxies without DNS capture send both there"
                )
    return found
