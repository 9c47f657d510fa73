"""WorkloadEntry: in the namespace of a local Service that has the imported host."""

from __future__ import annotations

import msgspec
import pytest

from meshfed.istio import Manifest, workload_entries
from meshfed.model.imports import Import, LocalPort, LocalService
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Port
from meshfed.model.reasons import Decision, Reason
from tests.istio.rendering_values import HTTP, RATINGS, backend, east, expected, imported, local_service, peer

SA = "spiffe://cluster.local/ns/bookinfo/sa/"
GW = "gw.west.example"
GRPC = Port(number=9090, name="grpc", protocol="GRPC")


def expected_entry(suffix: str, spec: str, *, resolved_from: str = "") -> Manifest:
    whole = expected("networking.istio.io/v1", "WorkloadEntry", f"{RATINGS}.{suffix}", spec, namespace="bookinfo")
    if resolved_from:
        whole["metadata"]["annotations"] = {"federation.openshift-service-mesh.io/resolved-from": resolved_from}
    return whole


def spec_of(address: str, port: int = 15444, **others: str) -> str:
    return "\n".join(
        [
            f"address: '{address}'",
            f"ports: {{http-web: {port}}}",
            "labels: {app: ratings, version: v1, security.istio.io/tlsMode: istio}",
            "network: west-network",
            *(f"{key}: {value}" for key, value in others.items()),
        ]
    )


@pytest.mark.parametrize(
    ("import_", "resolved", "entries"),
    [
        pytest.param(
            imported(backend(labels={"app": "other", "team": "b"})),
            {},
            [expected_entry("west.192.0.2.10", spec_of("192.0.2.10"))],
            id="labels are the local selector's, whatever was announced",
        ),
        pytest.param(
            imported(backend(peer("west", "gw.west.example", "192.0.2.10", locality="us-west1"))),
            {"gw.west.example": ("203.0.113.2", "192.0.2.10", "203.0.113.1"), "elsewhere.example": ("203.0.113.3",)},
            [
                expected_entry(
                    f"west.{address}", spec_of(address, locality="us-west1"), resolved_from="gw.west.example"
                )
                for address in ("192.0.2.10", "203.0.113.1", "203.0.113.2")
            ],
            id="one per IP, a name's answers among them, none twice",
        ),
        pytest.param(
            imported(
                backend(
                    peer("west", "192.0.2.10:15444", "192.0.2.10:443", "gw.west.example:443", "gw.west.example:444"),
                    identities=(SA + "v2", SA + "v1"),
                )
            ),
            {"gw.west.example": ("192.0.2.10",)},
            [
                expected_entry(
                    "west.192.0.2.10-443.v1", spec_of("192.0.2.10", 443, serviceAccount="v1"), resolved_from=GW
                ),
                expected_entry(
                    "west.192.0.2.10-443.v2", spec_of("192.0.2.10", 443, serviceAccount="v2"), resolved_from=GW
                ),
                expected_entry(
                    "west.192.0.2.10-444.v1", spec_of("192.0.2.10", 444, serviceAccount="v1"), resolved_from=GW
                ),
                expected_entry("west.192.0.2.10.v1", spec_of("192.0.2.10", serviceAccount="v1")),
            ],
            id="ports of their own, at one IP: in the name where it is not that of the remote",
        ),
        pytest.param(
            imported(backend(peer("west", "gw2.west.example", "gw1.west.example"))),
            {"gw1.west.example": ("192.0.2.10",), "gw2.west.example": ("192.0.2.10",)},
            [
                expected_entry(
                    "west.192.0.2.10", spec_of("192.0.2.10"), resolved_from="gw1.west.example,gw2.west.example"
                )
            ],
            id="two names with one answer",
        ),
        pytest.param(
            imported(backend(peer("west", "2001:DB8:0::1"))),
            {},
            [
                expected(
                    "networking.istio.io/v1",
                    "WorkloadEntry",
                    "ratings.bookinfo.svc.cluster.local.west.2001-db8-1.63c83d87424f6875",
                    spec_of("2001:db8::1"),
                    namespace="bookinfo",
                )
            ],
            id="an IPv6 address in its canonical form; its name ends in a digest",
        ),
        pytest.param(
            msgspec.structs.replace(
                imported(backend(peer("west")), backend(peer("central", "198.51.100.1", port=443, network=""))),
                ports=(HTTP, GRPC),
                backends=(
                    backend(peer("west")),
                    msgspec.structs.replace(
                        backend(peer("central", "198.51.100.1", port=443, network="")), without=frozenset({9080})
                    ),
                ),
            ),
            {},
            Decision(
                accepted=False,
                reason=Reason.LOCAL_SERVICE_UNUSABLE,
                message="local Service bookinfo/ratings and the offered one (9090) have no port in common",
            ),
            id="a remote that serves none of its ports",
        ),
        pytest.param(
            imported(
                backend(peer("west"), identities=(SA + "v2", SA + "v1")),
                backend(peer("central", "198.51.100.1", port=443, network="", trust_domain="central.local")),
            ),
            {},
            Decision(
                accepted=False,
                reason=Reason.IDENTITY_MISMATCH,
                message="remote central announced no identities for bookinfo/ratings and its trust domain is "
                "central.local, not cluster.local: proxies here would refuse its certificates",
            ),
            id="nothing announced, and another trust domain",
        ),
        pytest.param(
            imported(
                backend(peer("west"), identities=(SA + "v2", SA + "v1")),
                backend(peer("central", "198.51.100.1", port=443, network="")),
            ),
            {},
            [
                expected_entry(
                    "central.198.51.100.1",
                    """
                    address: 198.51.100.1
                    ports: {http-web: 443}
                    labels: {app: ratings, version: v1, security.istio.io/tlsMode: istio}
                    """,
                ),
                expected_entry("west.192.0.2.10.v1", spec_of("192.0.2.10", serviceAccount="v1")),
                expected_entry("west.192.0.2.10.v2", spec_of("192.0.2.10", serviceAccount="v2")),
            ],
            id="one per announced account; nothing announced in the same trust domain: without an account",
        ),
        pytest.param(
            imported(backend(peer("west", "192.0.2.11", "192.0.2.10"), identities=(SA + "v2", SA + "v1", SA + "v3"))),
            {},
            [
                expected_entry("west.192.0.2.10.v1", spec_of("192.0.2.10", serviceAccount="v1")),
                expected_entry("west.192.0.2.10.v2", spec_of("192.0.2.10", serviceAccount="v2")),
                expected_entry("west.192.0.2.10.v3", spec_of("192.0.2.10", serviceAccount="v3")),
                expected_entry("west.192.0.2.11.v1", spec_of("192.0.2.11", serviceAccount="v1")),
            ],
            id="each address and each account once, and not one with the other",
        ),
        pytest.param(
            imported(backend(peer("west", "gw.west.example")), backend(peer("central", "gw.central.example"))),
            {"gw.west.example": ("192.0.2.10",), "gw.central.example": ()},
            [expected_entry("west.192.0.2.10", spec_of("192.0.2.10"), resolved_from="gw.west.example")],
            id="a remote that is not resolved yet leaves the others as they are",
        ),
    ],
)
def test_entries(import_: Import, resolved: dict[str, tuple[str, ...]], entries: list[Manifest] | Decision) -> None:
    assert workload_entries(east(), import_, local_service(), resolved) == entries


def test_a_selector_on_what_we_label_is_not_overruled_by_our_label() -> None:
    selector = {"app": "ratings", "app.kubernetes.io/managed-by": "Helm"}
    found = workload_entries(east(), imported(), local_service(selector=selector), {})
    assert isinstance(found, list)
    for one in found:
        # as istiod reads it: the labels of the metadata are laid over those of the spec
        labels = {**one["spec"]["labels"], **one["metadata"]["labels"]}
        assert selector.items() <= labels.items()


@pytest.mark.parametrize(
    ("ports", "offered", "keys"),
    [
        pytest.param([LocalPort(9080, "http-web", 9081)], (HTTP,), ["http-web"], id="numeric targetPort"),
        pytest.param([LocalPort(9080, "http-web", None)], (HTTP,), ["http-web"], id="no targetPort: the port's number"),
        pytest.param([LocalPort(9080, "http-web", "web")], (HTTP,), ["web"], id="named targetPort"),
        pytest.param([LocalPort(9080, "", "web")], (HTTP,), ["web"], id="unnamed port, named targetPort"),
        pytest.param(
            [LocalPort(9090, "b", 1), LocalPort(9080, "a", "z")], (GRPC, HTTP), ["b", "z"], id="several, sorted"
        ),
        pytest.param(
            [LocalPort(9080, "a", "web"), LocalPort(9090, "b", "web")], (HTTP, GRPC), ["web"], id="one targetPort twice"
        ),
        pytest.param([LocalPort(9080, "a", 1)], (HTTP, GRPC), ["a"], id="a port that only the remote has"),
        pytest.param(
            [LocalPort(9080, "a", 1), LocalPort(7070, "c", "admin")], (HTTP,), ["a"], id="a named one of ours alone"
        ),
        pytest.param([LocalPort(9080, "p" * 62, 1)], (HTTP,), ["p" * 62], id="the longest name"),
    ],
)
def test_ports_are_keyed_as_istiod_looks_them_up(
    ports: list[LocalPort], offered: tuple[Port, ...], keys: list[str]
) -> None:
    entries = workload_entries(east(), imported(ports=offered), local_service(*ports), {})

    assert isinstance(entries, list)
    assert [list(entry["spec"]["ports"].items()) for entry in entries] == [[(key, 15444) for key in keys]]


ELSEWHERE = (
    "local Service bookinfo/ratings is called as ratings.bookinfo.svc.cluster.local, but the exporter's gateway knows "
    "{}; import it under a host that no local Service has"
)
NOT_OFFERED = (
    "local Service bookinfo/ratings has port 7070, which is not imported (9080 are), and Istio would send its calls to "
    "the remote's gateway all the same; export it there and import it, or give it a targetPort with a name of its own "
    "here"
)
ONLY = "bookinfo/ratings is served by {} in west, but a WorkloadEntry can state only "


@pytest.mark.parametrize(
    ("import_", "service", "reason", "message"),
    [
        pytest.param(
            imported(),
            local_service(external_name=True),
            Reason.LOCAL_SERVICE_UNUSABLE,
            "local Service bookinfo/ratings is of type ExternalName, which has no endpoints",
            id="ExternalName",
        ),
        pytest.param(
            imported(),
            local_service(headless=True),
            Reason.LOCAL_SERVICE_UNUSABLE,
            "local Service bookinfo/ratings is headless (clusterIP None), and Istio adds no WorkloadEntry to those",
            id="headless",
        ),
        pytest.param(
            imported(),
            local_service(selector={}),
            Reason.LOCAL_SERVICE_UNUSABLE,
            "local Service bookinfo/ratings has no selector, and Istio finds WorkloadEntries by it",
            id="no selector",
        ),
        pytest.param(
            imported(host="scores.bookinfo.svc.cluster.local"),
            local_service(host=ServiceHost("scores", "bookinfo", "cluster.local")),
            Reason.SNI_CONFLICT,
            ELSEWHERE.replace("ratings", "scores").format(RATINGS),
            id="an alias: the exporter does not answer to the Service's SNI",
        ),
        pytest.param(
            imported(host="ratings.bookinfo.svc.west.mesh"),
            local_service(),
            Reason.SNI_CONFLICT,
            ELSEWHERE.format("ratings.bookinfo.svc.west.mesh"),
            id="the import's host is not the Service's own",
        ),
        pytest.param(
            imported(),
            local_service(LocalPort(9080, "", 9081)),
            Reason.LOCAL_SERVICE_UNUSABLE,
            "local Service bookinfo/ratings has a port without a name, for which Istio would dial the targetPort's "
            "number at the remote's gateway; give the port a name",
            id="unnamed port with a numeric targetPort",
        ),
        pytest.param(
            imported(),
            local_service(LocalPort(9080, "p" * 63, 9081)),
            Reason.LOCAL_SERVICE_UNUSABLE,
            f"port name {'p' * 63} of local Service bookinfo/ratings is longer than the 62 characters that a "
            "WorkloadEntry takes",
            id="a port name that Istio's CRD refuses",
        ),
        pytest.param(
            imported(ports=(GRPC, HTTP)),
            local_service(LocalPort(7070, "admin", "admin")),
            Reason.LOCAL_SERVICE_UNUSABLE,
            "local Service bookinfo/ratings and the offered one (9080, 9090) have no port in common",
            id="no port in common",
        ),
        pytest.param(
            imported(),
            local_service(LocalPort(9080, "a", 1), LocalPort(7070, "admin", 7070)),
            Reason.LOCAL_SERVICE_UNUSABLE,
            NOT_OFFERED,
            id="a numeric targetPort that is not offered: Istio falls back to the number",
        ),
        pytest.param(
            imported(),
            local_service(LocalPort(9080, "a", "web"), LocalPort(7070, "admin", "web")),
            Reason.LOCAL_SERVICE_UNUSABLE,
            NOT_OFFERED,
            id="a named targetPort that is not offered, but found under another's name",
        ),
        pytest.param(
            imported(backend(identities=(SA + "v1", "spiffe://west.local/ns/bookinfo/sa/v2"))),
            local_service(),
            Reason.IDENTITY_MISMATCH,
            ONLY.format("spiffe://west.local/ns/bookinfo/sa/v2") + SA + "...",
            id="an identity of another trust domain",
        ),
        pytest.param(
            imported(backend(identities=("spiffe://cluster.local/ns/other/sa/v1",))),
            local_service(),
            Reason.IDENTITY_MISMATCH,
            ONLY.format("spiffe://cluster.local/ns/other/sa/v1") + SA + "...",
            id="an identity of another namespace",
        ),
        pytest.param(
            imported(backend(identities=("spiffe://cluster.local/workload",))),
            local_service(),
            Reason.IDENTITY_MISMATCH,
            ONLY.format("spiffe://cluster.local/workload") + SA + "...",
            id="an identity that is no service account's",
        ),
        pytest.param(
            imported(
                backend(peer("west", "gw.west.example")),
                backend(peer("central", "gw.central.example", "gw.west.example")),
            ),
            local_service(),
            Reason.UNRESOLVED,
            "gw.central.example, gw.west.example of central, west could not be resolved yet",
            id="names that were not resolved",
        ),
        pytest.param(
            imported(backend(peer(addresses=())), backend(peer("central", addresses=()))),
            local_service(),
            Reason.UNRESOLVED,
            "no address is known of central, west; set spec.addresses of the RemoteMesh",
            id="no addresses",
        ),
    ],
)
def test_refusals(import_: Import, service: LocalService, reason: Reason, message: str) -> None:
    decision = workload_entries(east(), import_, service, {"gw.west.example": ()})

    assert decision == Decision(accepted=False, reason=reason, message=message)
