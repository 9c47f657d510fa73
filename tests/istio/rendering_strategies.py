"""Random but possible inputs of rendering, as what is decided upstream would hand them over."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from meshfed.model.identity import SpiffeID
from meshfed.model.imports import Backend, Import, LocalPort, LocalService
from meshfed.model.meshes import GatewayAddress, IngressType, LocalMesh, Remote
from meshfed.model.names import ServiceHost
from meshfed.model.offers import PROTOCOLS, Port

NUMBERS = st.integers(1, 65535)
OUTLIERS: dict[str, Any] = {"interval": "5s", "consecutive5xxErrors": 0, "maxEjectionPercent": 0}
LOCALITIES = st.sampled_from(["", "r1", "r1/z1", "r1/z1/s1"])


# Those of up to five characters that are a, b or a dash: to draw one of a list takes a fraction of what a regular
# expression does, and names are most of what is drawn.
_SHORT = [
    *"ab",
    *(
        first + "".join(middle) + last
        for length in range(4)
        for first in "ab"
        for middle in itertools.product("ab-", repeat=length)
        for last in "ab"
    ),
]


def dns_labels(longest: int = 63) -> SearchStrategy[str]:
    """DNS labels that start with a letter, many of them alike or as long as they may be."""
    short = st.sampled_from(_SHORT)
    return st.one_of(short, short.map(lambda text: (text * longest)[:longest].rstrip("-")))


def labels() -> SearchStrategy[dict[str, str]]:
    return st.dictionaries(dns_labels(), dns_labels(), max_size=3)


def ip_addresses() -> SearchStrategy[str]:
    return st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


def addresses() -> SearchStrategy[GatewayAddress]:
    names = st.lists(dns_labels(), min_size=2, max_size=3).map(".".join)
    return st.builds(GatewayAddress, st.one_of(ip_addresses(), names), st.one_of(st.just(15443), NUMBERS))


def hosts(domain: str = "cluster.local") -> SearchStrategy[ServiceHost]:
    return st.builds(ServiceHost, name=dns_labels(), namespace=dns_labels(), domain=st.just(domain))


def meshes(ingress: IngressType = IngressType.ISTIO) -> SearchStrategy[LocalMesh]:
    selectors = st.dictionaries(dns_labels(), dns_labels(), min_size=1, max_size=3)
    return st.builds(
        LocalMesh,
        name=dns_labels(34),
        namespace=dns_labels(),
        network=dns_labels(),
        trust_domain=st.just("cluster.local"),
        cluster_domain=st.just("cluster.local"),
        control_plane_namespace=dns_labels(),
        ingress_type=st.just(ingress),
        gateway_selector=selectors,
        gateway_port_name=dns_labels(),
        gateway_port=NUMBERS,
        controller_selector=selectors,
        metrics_port=NUMBERS,
    )


def remotes(ingress: IngressType) -> SearchStrategy[Remote]:
    return st.builds(
        Remote,
        name=dns_labels(34),
        addresses=st.lists(addresses(), max_size=4).map(tuple),
        port=st.one_of(st.just(15443), NUMBERS),
        network=st.one_of(st.just(""), dns_labels()),
        ingress_type=st.just(ingress),
        trust_domain=st.just("cluster.local"),
        cluster_domain=st.just("cluster.local"),
        identity=st.builds(
            SpiffeID.of_workload, st.sampled_from(["w.local", "cluster.local"]), dns_labels(), dns_labels()
        ),
        discovery_namespace=dns_labels(),
        discovery_port=NUMBERS,
        locality=LOCALITIES,
    )


@st.composite
def imports(draw: st.DrawFn) -> Import:
    """A host, at times under an alias, from up to three remotes of one ingress type."""
    ingress = draw(st.sampled_from(IngressType))
    server = draw(hosts())
    ports = draw(
        st.lists(
            st.builds(
                Port,
                number=NUMBERS,
                name=dns_labels(62),
                protocol=st.sampled_from(["", *sorted(PROTOCOLS)]),
                target_port=st.integers(0, 65535),
            ),
            min_size=1,
            max_size=4,
            unique_by=(lambda port: port.number, lambda port: port.name),
        )
    )
    account = dns_labels().map(lambda name: f"spiffe://cluster.local/ns/{server.namespace}/sa/{name}")
    backends = [
        Backend(
            remote=remote,
            sni_host=server.fqdn,
            labels=draw(labels()),
            identities=tuple(draw(st.lists(account, max_size=3))),
        )
        for remote in draw(
            st.lists(remotes(ingress), min_size=1, max_size=3, unique_by=lambda candidate: candidate.name)
        )
    ]
    return Import(
        host=draw(st.one_of(st.just(server), hosts("west.mesh"))).fqdn,
        ports=tuple(ports),
        backends=tuple(backends),
        export_to=draw(st.sampled_from([("*",), (".",), ("b", "a", ".")])),
        traffic_policy=draw(st.sampled_from([{}, {"outlierDetection": {}}, {"outlierDetection": OUTLIERS}])),
    )


def local_services(host: ServiceHost, ports: tuple[Port, ...]) -> SearchStrategy[LocalService]:
    """A Service that takes WorkloadEntries for all of ``ports``."""
    targets = st.one_of(st.none(), NUMBERS, st.sampled_from(["http", "web"]))
    return st.builds(
        LocalService,
        host=st.just(host),
        selector=st.dictionaries(dns_labels(), dns_labels(), min_size=1, max_size=3),
        ports=st.tuples(
            *(st.builds(LocalPort, number=st.just(p.number), name=st.just(p.name), target_port=targets) for p in ports)
        ),
    )
