"""No name that is put together of what is admitted is longer than what it is for can take."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from meshfed.federation.imports import record_name
from meshfed.istio import names
from meshfed.istio.metadata import owner_labels
from meshfed.istio.sni import istio_sni, router_sni
from meshfed.model.meshes import FDS_SERVICE_PREFIX, GatewayAddress
from meshfed.model.names import (
    MAX_CLUSTER_DOMAIN,
    MAX_LABEL,
    MAX_MESH_NAME,
    MAX_NAME,
    MAX_SERVED,
    ServiceHost,
    is_dns_label,
    is_dns_name,
    is_label_value,
    shortened,
)
from meshfed.model.offers import Offer, Port, Refusal, checked
from tests.istio.rendering_values import east, peer

SERVER_NAME = 255
"""The longest TLS server name that BoringSSL and OpenSSL take."""


def labels(longest: int) -> st.SearchStrategy[str]:
    """DNS labels of letters, digits and dashes, mostly as long as they may be."""
    lengths = st.one_of(st.just(longest), st.integers(min_value=1, max_value=longest))
    return st.builds(
        lambda text, length: (text * longest)[:length].rstrip("-"), st.sampled_from(["a", "b-", "c0--"]), lengths
    )


def domains(longest: int) -> st.SearchStrategy[str]:
    """DNS names, mostly as long as they may be."""
    return st.lists(labels(MAX_LABEL), min_size=1, max_size=5).map(lambda parts: ".".join(parts)[:longest].strip("-."))


ADDRESSES = st.sampled_from(
    ["192.0.2.1", "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", ("a" * 60 + ".") * 4 + "abc"]
)
SERVICES = st.builds(ServiceHost, name=labels(63), namespace=labels(63), domain=domains(MAX_CLUSTER_DOMAIN))
PORTS = st.sampled_from([1, 65535])
LONGEST = ServiceHost(name="a" * 63, namespace="b" * 63, domain="c" * 63 + "." + "d" * (MAX_CLUSTER_DOMAIN - 64))


@given(labels(MAX_MESH_NAME), labels(63), domains(MAX_CLUSTER_DOMAIN))
@example("m" * MAX_MESH_NAME, LONGEST.namespace, LONGEST.domain)
def test_what_a_mesh_s_discovery_service_is_called(name: str, namespace: str, domain: str) -> None:
    far = peer(name, cluster_domain=domain, discovery_namespace=namespace)
    here = east(name=name, namespace=namespace, cluster_domain=domain)
    assert is_dns_label(FDS_SERVICE_PREFIX + name)
    for host in (far.fds_host, here.fds_host):
        assert is_dns_name(host)
        assert len(host) <= MAX_SERVED
        assert len(istio_sni(host, 65535)) <= SERVER_NAME
    for written in (names.discovery_name(far), names.discovery_rule_name(far), record_name(far.fds_host, name)):
        assert is_dns_name(written)
    assert all(is_label_value(value) for value in owner_labels(here).values())


@given(SERVICES, PORTS, labels(MAX_MESH_NAME), ADDRESSES, labels(63))
@example(LONGEST, 65535, "m" * MAX_MESH_NAME, ("a" * 60 + ".") * 4 + "abc", "s" * 63)
def test_what_is_written_for_a_service(host: ServiceHost, port: int, remote: str, address: str, account: str) -> None:
    assert is_dns_name(host.fqdn)
    assert len(istio_sni(host.fqdn, port)) <= SERVER_NAME
    router = router_sni(host, port)
    assert router is None or len(router) <= SERVER_NAME
    for written in (
        record_name(host.fqdn, remote),
        names.import_name(host.fqdn),
        names.import_rule_name(host.fqdn),
        *(names.workload_name(host.fqdn, peer(remote), GatewayAddress(address, at), account) for at in (15444, 65535)),
        names.filter_name(host, port),
        names.route_name(host, port),
    ):
        assert is_dns_name(written), written
    assert not isinstance(checked(Offer(host=host.fqdn, ports=(Port(number=port, name="http"),)), ""), Refusal)


@given(domains(MAX_NAME), st.text(max_size=400), st.integers(min_value=30, max_value=MAX_NAME))
def test_a_name_of_any_parts_is_shortened_to_a_valid_one(host: str, more: str, limit: int) -> None:
    written = shortened(f"{host}.{more}", limit)
    assert is_dns_name(written)
    assert len(written) <= limit


def test_a_host_that_fits_into_no_server_name_is_refused() -> None:
    ports = (Port(number=80, name="http"),)
    longest = ("a" * 57 + ".") * 4 + "abcd"
    assert len(longest) == MAX_SERVED
    assert len(istio_sni(longest, 65535)) == SERVER_NAME
    assert not isinstance(checked(Offer(host=longest, ports=ports), ""), Refusal)
    for field, offer in {
        "host": Offer(host=longest + "e", ports=ports),
        "sniHost": Offer(host="a.b", sni_host=longest + "e", ports=ports),
    }.items():
        refusal = checked(offer, "")
        assert isinstance(refusal, Refusal)
        assert refusal.field == field
        assert "has 237 characters; a host of more than 236" in refusal.message
    # An alias is a host of this mesh alone; what is called is the exporter's own.
    assert not isinstance(checked(Offer(host=longest + "e", sni_host="a.b", ports=ports), ""), Refusal)
