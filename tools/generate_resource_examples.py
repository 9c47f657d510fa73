"""Put a freshly rendered example of each object into the page that explains them, so that no example goes stale.

The page's own text is written by hand. Each example stands between ``<!-- example: NAME -->`` and ``<!-- end -->``;
what is between is replaced. Usage: ``python tools/generate_resource_examples.py OUTPUT_DIRECTORY``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import yaml

from meshfed import istio
from meshfed.istio import Manifest
from meshfed.model.identity import SpiffeID
from meshfed.model.imports import Backend, Import, LocalPort, LocalService
from meshfed.model.meshes import GatewayAddress, IngressType, LocalMesh, Remote
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Port

PAGE = "resources.md"
SOURCE = Path(__file__).resolve().parent.parent / "docs" / PAGE

EAST = LocalMesh(
    name="east",
    namespace="istio-system",
    network="east-network",
    trust_domain="cluster.local",
    cluster_domain="cluster.local",
    control_plane_namespace="istio-system",
    ingress_type=IngressType.ISTIO,
    gateway_selector={"app": "federation-ingress-gateway"},
    gateway_port_name="tls-passthrough",
    gateway_port=15443,
    controller_selector={"app.kubernetes.io/name": "federation-controller"},
    identity=SpiffeID.of_workload("cluster.local", "istio-system", "federation-controller-east"),
)
EAST_BEHIND_ROUTER = msgspec.structs.replace(EAST, ingress_type=IngressType.OPENSHIFT_ROUTER)
WEST = Remote(
    name="west",
    addresses=(GatewayAddress("192.0.2.10", 15443),),
    port=15443,
    network="west-network",
    ingress_type=IngressType.ISTIO,
    trust_domain="cluster.local",
    cluster_domain="cluster.local",
    identity=SpiffeID.of_workload("cluster.local", "istio-system", "federation-controller-west"),
    discovery_namespace="istio-system",
    locality="us-west1/us-west1-a",
)
CENTRAL = Remote(
    name="central",
    addresses=(GatewayAddress("router.central.example", 443),),
    port=443,
    network="central-network",
    ingress_type=IngressType.OPENSHIFT_ROUTER,
    trust_domain="cluster.local",
    cluster_domain="cluster.local",
    identity=SpiffeID.of_workload("cluster.local", "istio-system", "federation-controller-central"),
    discovery_namespace="istio-system",
)
RATINGS = ServiceHost("ratings", "bookinfo", "cluster.local")
REVIEWS = ServiceHost("reviews", "bookinfo", "cluster.local")
HTTP = Port(number=9080, name="http", protocol="HTTP", target_port=9080)
RATINGS_ACCOUNT = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-ratings"


def imported(host: str, remote: Remote, sni_host: ServiceHost, *identities: str, outliers: bool = False) -> Import:
    """``host``, as ``remote`` serves it."""
    return Import(
        host=host,
        ports=(HTTP,),
        backends=(
            Backend(remote=remote, sni_host=sni_host.fqdn, labels={"app": sni_host.name}, identities=identities),
        ),
        traffic_policy={"outlierDetection": {"consecutive5xxErrors": 5, "interval": "10s"}} if outliers else {},
    )


def examples() -> dict[str, Manifest | None]:
    """An object of every kind, by the name that the page calls it by."""
    alias = "ratings.bookinfo.svc.west.mesh"
    reviews = LocalService(REVIEWS, selector={"app": "reviews"}, ports=(LocalPort(9080, "http", 9080),))
    account = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"
    entries = istio.workload_entries(EAST, imported(REVIEWS.fqdn, WEST, REVIEWS, account), reviews, {})
    assert isinstance(entries, list), entries.message
    return {
        "gateway": istio.gateway(EAST, 0, [EAST.fds_host, "productpage.bookinfo.svc.cluster.local", REVIEWS.fqdn]),
        "peer-authentication": istio.peer_authentication(EAST),
        "authorization-policy": istio.authorization_policy(EAST, [WEST.identity, CENTRAL.identity]),
        "discovery-entry": istio.discovery_entry(EAST, WEST),
        "import-entry": istio.import_entry(EAST, imported(RATINGS.fqdn, WEST, RATINGS, RATINGS_ACCOUNT)),
        "workload-entry": entries[0],
        "discovery-rule": istio.discovery_rule(EAST, CENTRAL),
        "import-rule": istio.import_rule(EAST, imported(RATINGS.fqdn, CENTRAL, RATINGS, outliers=True)),
        "alias-rule": istio.import_rule(EAST, imported(alias, WEST, RATINGS)),
        "envoy-filter": istio.passthrough_filter(EAST_BEHIND_ROUTER, REVIEWS, 9080),
        "port-filter": istio.port_filter(EAST, RATINGS, 9080, listening=[15443]),
        "route": istio.route(EAST_BEHIND_ROUTER, REVIEWS, 9080),
    }


def filled(page: str) -> str:
    """``page`` with every example in its place; raises ``ValueError`` where one is missing or unknown."""
    wanted = examples()
    named = re.findall(r"<!-- example: ([\w-]+) -->", page)
    if sorted(named) != sorted(wanted):
        raise ValueError(f"{PAGE} shows {sorted(named)}, but there are the examples {sorted(wanted)}")

    def block(match: re.Match[str]) -> str:
        text = yaml.safe_dump(wanted[match[1]], sort_keys=False, width=120)
        return f"<!-- example: {match[1]} -->\n```yaml\n{text}```\n<!-- end -->"

    return re.sub(r"<!-- example: ([\w-]+) -->.*?<!-- end -->", block, page, flags=re.DOTALL)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_resource_examples.py OUTPUT_DIRECTORY")
    Path(sys.argv[1], PAGE).write_text(filled(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
