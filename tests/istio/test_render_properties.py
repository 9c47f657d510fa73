"""What holds of rendering whatever the input: names that never meet, and one output however the input is ordered."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.istio import (
    Manifest,
    authorization_policy,
    discovery_entry,
    discovery_rule,
    gateway,
    import_entry,
    import_rule,
    passthrough_filter,
    peer_authentication,
    route,
    router_sni,
    workload_entries,
)
from meshfed.istio.names import filter_name, import_name, import_rule_name, route_name, workload_name
from meshfed.model.identity import SpiffeID
from meshfed.model.imports import Import, LocalService
from meshfed.model.meshes import GatewayAddress, IngressType, LocalMesh
from meshfed.model.names import ServiceHost
from tests.istio.rendering_strategies import dns_labels, hosts, imports, ip_addresses, local_services, meshes, remotes
from tests.istio.rendering_values import peer

# apimachinery's IsDNS1123Subdomain, which every object name has to pass
OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
COLLIDING = st.one_of(hosts(), hosts(".".join(["d" * 63] * 2)))
PORTS = st.integers(1, 65535)
unhurried = settings(deadline=None)
few = settings(deadline=None, max_examples=40)


@unhurried
@given(st.sets(st.tuples(COLLIDING, PORTS), min_size=2, max_size=8))
def test_different_exported_ports_have_different_valid_names(ports: set[tuple[ServiceHost, int]]) -> None:
    for name_of in (filter_name, route_name):
        assert_valid([name_of(host, port) for host, port in ports])


@unhurried
@given(st.sets(COLLIDING.map(lambda host: host.fqdn), min_size=2, max_size=8))
def test_different_imported_hosts_have_different_valid_names(imported: set[str]) -> None:
    for name_of in (import_name, import_rule_name):
        assert_valid([name_of(host) for host in imported])


@unhurried
@given(
    st.sets(
        st.tuples(
            dns_labels(),
            dns_labels(34),
            st.builds(GatewayAddress, ip_addresses(), st.sampled_from([15444, 80, 443])),
            st.one_of(st.just(""), st.lists(dns_labels(), min_size=1, max_size=4).map(".".join)),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_different_endpoints_of_a_namespace_have_different_valid_names(
    ends: set[tuple[str, str, GatewayAddress, str]],
) -> None:
    assert_valid(
        [
            workload_name(f"{service}.bookinfo.svc.cluster.local", peer(remote), address, account)
            for service, remote, address, account in ends
        ]
    )


def assert_valid(names: list[str]) -> None:
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 253
        assert OBJECT_NAME.fullmatch(name)


@few
@given(st.data())
def test_the_same_input_in_another_order_gives_the_same_bytes(data: st.DataObject) -> None:
    shuffled = random.Random(data.draw(st.integers()))
    mesh, import_, service, resolved = data.draw(worlds())

    once = everything(mesh, import_, service, resolved)
    again = everything(
        reordered(mesh, shuffled),
        reordered(import_, shuffled),
        reordered(service, shuffled),
        reordered(resolved, shuffled),
    )

    assert [json.dumps(manifest) for manifest in once] == [json.dumps(manifest) for manifest in again]


@few
@given(st.data())
def test_objects_are_complete_and_say_nothing_empty_or_twice(data: st.DataObject) -> None:
    manifests = everything(*data.draw(worlds()))

    for manifest in manifests:
        assert list(manifest) == ["apiVersion", "kind", "metadata", "spec"]
        assert_valid([manifest["metadata"]["name"]])
        assert empty_fields(manifest) == []
        assert "&id" not in yaml.safe_dump(manifest), "two fields share one mutable value"
    identities = [(m["kind"], m["metadata"]["namespace"], m["metadata"]["name"]) for m in manifests]
    assert len(set(identities)) == len(identities)


@unhurried
@given(hosts(), PORTS)
def test_an_sni_that_the_router_serves_is_a_dns_name_of_its_own(host: ServiceHost, port: int) -> None:
    sni = router_sni(host, port)

    assert (sni is None) == (len(host.name) + 1 + len(str(port)) > 63)
    if sni is not None:
        service, _, rest = sni.partition(".")
        assert (service.rpartition("-")[0], int(service.rpartition("-")[2])) == (host.name, port)
        assert rest == f"{host.namespace}.svc.{host.domain}"


@st.composite
def worlds(draw: st.DrawFn) -> tuple[LocalMesh, Import, LocalService, dict[str, tuple[str, ...]]]:
    """A mesh, something it imports, and a local Service of that host with every name resolved."""
    import_ = draw(imports())
    host = ServiceHost.parse(import_.backends[0].sni_host, "cluster.local")
    assert host is not None
    names = sorted({address.host for backend in import_.backends for address in backend.remote.addresses})
    answers = st.lists(st.ip_addresses().map(str), max_size=2).map(tuple)
    return (
        draw(meshes(draw(st.sampled_from(IngressType)))),
        import_,
        draw(local_services(host, import_.ports)),
        {name: draw(answers) for name in names},
    )


def everything(
    mesh: LocalMesh, import_: Import, service: LocalService, resolved: dict[str, tuple[str, ...]]
) -> list[Manifest]:
    """Every object that can be rendered from these values."""
    exported = [ServiceHost(mesh.fds_service, mesh.namespace, mesh.cluster_domain), service.host]
    partners = {backend.remote.name: backend.remote for backend in import_.backends}
    joined = msgspec.structs.replace(import_, host=service.host.fqdn)
    entries = workload_entries(mesh, joined, service, resolved)
    optional = [
        import_rule(mesh, import_),
        *(
            render(mesh, remote)
            for _, remote in sorted(partners.items())
            for render in (discovery_entry, discovery_rule)
        ),
        *(
            render(mesh, host, port)
            for host in exported
            for port in (80, 9080)
            for render in (passthrough_filter, route)
        ),
    ]
    return [
        gateway(mesh, 0, {host.fqdn for host in exported}),
        peer_authentication(mesh),
        authorization_policy(mesh, [remote.identity for remote in partners.values()]),
        import_entry(mesh, import_),
        *(manifest for manifest in optional if manifest is not None),
        *(entries if isinstance(entries, list) else []),
    ]


def reordered(value: Any, shuffled: random.Random) -> Any:
    """``value`` with every tuple and mapping in it in another order."""
    if isinstance(value, msgspec.Struct) and not isinstance(value, SpiffeID):
        return type(value)(**{field: reordered(getattr(value, field), shuffled) for field in value.__struct_fields__})
    if isinstance(value, tuple):
        return tuple(reordered(item, shuffled) for item in shuffled.sample(value, len(value)))
    if isinstance(value, dict):
        return {key: reordered(value[key], shuffled) for key in shuffled.sample(list(value), len(value))}
    return value


def empty_fields(value: Any, path: str = "") -> list[str]:
    """The paths of what is empty; ``0``, ``False`` and ``outlierDetection: {}`` mean something."""
    if value == {} and path.endswith(".outlierDetection"):
        return []
    if value in ("", None) or value in ([], {}):
        return [path]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in empty_fields(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in empty_fields(item, f"{path}[{number}]")]
    return []


@unhurried
@given(remotes(IngressType.OPENSHIFT_ROUTER), meshes())
def test_discovery_behind_a_router_is_either_reachable_or_absent(remote: Any, mesh: LocalMesh) -> None:
    rule, entry = discovery_rule(mesh, remote), discovery_entry(mesh, remote)

    assert entry is not None or rule is None
    if rule is not None and entry is not None:
        assert [rule["spec"]["host"]] == entry["spec"]["hosts"]
