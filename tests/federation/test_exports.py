"""Which Services are exported, as what, and to whom."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.api.core import Service, ServicePort
from meshfed.api.v1alpha1 import Export
from meshfed.federation.exports import Exported, decide, holder, protocol
from meshfed.kube import Manifest
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason
from tests.builders import EXPORTED, mesh_federation, port, service, typed
from tests.world import local_mesh

EVERYTHING: dict[str, Any] = {}
LABELLED = {"serviceSelectors": {"matchLabels": EXPORTED}}
IN_PROD = {"namespaceSelectors": {"matchLabels": {"env": "prod"}}}


def rules(*given: dict[str, Any], **selectors: Any) -> dict[str, Any]:
    return {"rules": list(given), **selectors}


def export(**parts: Any) -> dict[str, Any]:
    return {"action": "Export"} | {key.rstrip("_"): value for key, value in parts.items()}


def deny(**parts: Any) -> dict[str, Any]:
    return {"action": "Deny", **parts}


def verdict(
    spec: dict[str, Any] | None,
    of: Manifest,
    labels: dict[str, str] | None = None,
    *,
    has_service_export: bool = False,
) -> Exported | Decision:
    parsed = None if spec is None else typed(Export, spec)
    return decide(local_mesh(), parsed, typed(Service, of), labels or {}, has_service_export=has_service_export)


def test_an_exported_service_is_offered_under_its_own_name_with_its_ports_and_labels() -> None:
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "admin", "port": 15000, "targetPort": "admin", "appProtocol": "grpc"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    assert verdict(LABELLED, service("a.ns2", exported=True, ports=ports)) == Exported(
        service=ServiceHost(name="a", namespace="ns2", domain="cluster.local"),
        offer=Offer(
            host="a.ns2.svc.cluster.local",
            ports=(
                Port(number=80, name="http", protocol="HTTP", target_port=8080),
                Port(number=15000, name="admin", protocol="GRPC"),
            ),
            labels={"app": "a", "export-service": "true"},
        ),
        selected_by="`export.serviceSelectors`",
    )


@pytest.mark.parametrize(
    ("spec", "has_service_export", "selected_by"),
    [
        (EVERYTHING, False, "`export`, which takes every Service"),
        (LABELLED | {"namespaceSelectors": {}}, False, "`export.serviceSelectors` and `export.namespaceSelectors`"),
        (
            {"rules": [{"action": "Deny", "names": ["b"]}, {"action": "Export", "names": ["a"]}]},
            False,
            "export rule 2",
        ),
        ({"serviceExports": True}, True, "its ServiceExport"),
        (
            {"serviceExports": True, "rules": [{"action": "Export"}]},
            True,
            "its ServiceExport, and export rule 1",
        ),
    ],
)
def test_what_an_export_is_selected_by(spec: dict[str, Any], has_service_export: bool, selected_by: str) -> None:
    outcome = verdict(spec, service("a", exported=True), has_service_export=has_service_export)
    assert isinstance(outcome, Exported)
    assert outcome.selected_by == selected_by


def test_an_unnamed_port_gets_a_name_that_istio_takes() -> None:
    outcome = verdict(EVERYTHING, service("a", ports=[{"port": 80}]))
    assert isinstance(outcome, Exported)
    assert outcome.offer.ports == (Port(number=80, name="port-80"),)


@pytest.mark.parametrize(
    ("spec", "of", "labels"),
    [
        pytest.param(EVERYTHING, service("a"), {}, id="everything"),
        pytest.param(LABELLED, service("a", exported=True), {}, id="by label"),
        pytest.param(
            LABELLED, service("a.kube-system", exported=True), {}, id="by label, also from a protected namespace"
        ),
        pytest.param(IN_PROD, service("a"), {"env": "prod"}, id="by the label of its namespace"),
        pytest.param(rules(export(names=["a*"])), service("ab"), {}, id="by a rule for its name"),
        pytest.param(rules(export(namespaces=["*-prod"])), service("a.x-prod"), {}, id="by a rule for its namespace"),
        pytest.param(
            rules(export(labels={"matchLabels": {"app": "a"}})), service("a"), {}, id="by a rule for its labels"
        ),
        pytest.param(rules(export(names=["a"]), deny()), service("a"), {}, id="the first rule that matches decides"),
        pytest.param(
            rules(export(namespaces=["kube-system"])), service("a.kube-system"), {}, id="protected, but named outright"
        ),
        pytest.param(
            rules(export(namespaces=["default"], names=["kubernetes"])),
            service("kubernetes"),
            {},
            id="the API server, named outright",
        ),
    ],
)
def test_exported(spec: dict[str, Any], of: Manifest, labels: dict[str, str]) -> None:
    outcome = verdict(spec, of, labels)
    assert isinstance(outcome, Exported), outcome
    meta = of["metadata"]
    assert (outcome.offer.host, outcome.audience) == (f"{meta['name']}.{meta['namespace']}.svc.cluster.local", None)


@pytest.mark.parametrize(
    ("spec", "of", "labels", "reason"),
    [
        pytest.param(None, service("a"), {}, Reason.NOT_SELECTED, id="no export at all"),
        pytest.param(LABELLED, service("a"), {}, Reason.NOT_SELECTED, id="another label"),
        pytest.param(IN_PROD, service("a"), {"env": "test"}, Reason.NOT_SELECTED, id="another namespace label"),
        pytest.param(
            {"serviceSelectors": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}},
            service("a"),
            {},
            Reason.NOT_SELECTED,
            id="matchExpressions alone match what they say",
        ),
        pytest.param(rules(export(names=["b"])), service("a"), {}, Reason.DENIED_BY_RULE, id="no rule matches"),
        pytest.param(rules(deny(names=["a"]), export()), service("a"), {}, Reason.DENIED_BY_RULE, id="denied first"),
        pytest.param(
            rules(export(names=["a"]), **LABELLED),
            service("a"),
            {},
            Reason.NOT_SELECTED,
            id="the selectors narrow the rules further",
        ),
        pytest.param(EVERYTHING, service("a.kube-system"), {}, Reason.PROTECTED_NAMESPACE, id="kube-system"),
        pytest.param(EVERYTHING, service("a.openshift-dns"), {}, Reason.PROTECTED_NAMESPACE, id="openshift-dns"),
        pytest.param(EVERYTHING, service("istiod.istio-system"), {}, Reason.PROTECTED_NAMESPACE, id="control plane"),
        pytest.param(EVERYTHING, service("kubernetes"), {}, Reason.PROTECTED_NAMESPACE, id="the API server"),
        pytest.param(
            rules(export(namespaces=["kube-*"])),
            service("a.kube-system"),
            {},
            Reason.PROTECTED_NAMESPACE,
            id="a wildcard names nothing outright",
        ),
        pytest.param(
            {"serviceSelectors": {"matchExpressions": [{"key": "private", "operator": "DoesNotExist"}]}},
            service("a.kube-system"),
            {},
            Reason.PROTECTED_NAMESPACE,
            id="a selector that only excludes names nothing either",
        ),
        pytest.param(
            rules(export(namespaces=["default"])),
            service("kubernetes"),
            {},
            Reason.PROTECTED_NAMESPACE,
            id="naming its namespace does not name the API server",
        ),
        pytest.param(
            EVERYTHING, service("a", type="ExternalName", ports=[]), {}, Reason.EXTERNAL_NAME, id="ExternalName"
        ),
        pytest.param(EVERYTHING, service("a", ports=[]), {}, Reason.NO_USABLE_PORTS, id="no ports"),
        pytest.param(
            EVERYTHING, service("a", ports=[{"port": 53, "protocol": "UDP"}]), {}, Reason.NO_USABLE_PORTS, id="UDP"
        ),
        pytest.param(
            LABELLED,
            service("federation-discovery-service-east.istio-system", exported=True),
            {},
            Reason.NOT_SELECTED,
            id="a discovery service",
        ),
    ],
)
def test_left_out(spec: dict[str, Any] | None, of: Manifest, labels: dict[str, str], reason: Reason) -> None:
    outcome = verdict(spec, of, labels)
    assert isinstance(outcome, Decision), outcome
    assert (outcome.accepted, outcome.reason) == (False, reason)
    meta = of["metadata"]
    assert meta["name"] in outcome.message or meta["namespace"] in outcome.message


def test_a_rule_says_who_may_see_the_service() -> None:
    outcome = verdict(rules(export(remotes=["west", "north"])), service("a"))
    assert isinstance(outcome, Exported)
    assert outcome.audience == frozenset({"west", "north"})


@pytest.mark.parametrize(
    ("alias", "host"),
    [
        ({"name": "pay"}, "pay.default.svc.cluster.local"),
        ({"namespace": "shared"}, "a.shared.svc.cluster.local"),
        ({"name": "pay", "namespace": "shared"}, "pay.shared.svc.cluster.local"),
    ],
)
def test_an_alias_changes_the_host_and_says_what_the_gateway_answers_to(alias: dict[str, str], host: str) -> None:
    outcome = verdict(rules(export(as_=alias)), service("a"))
    assert isinstance(outcome, Exported)
    assert (outcome.offer.host, outcome.offer.sni_host) == (host, "a.default.svc.cluster.local")


def test_an_alias_that_changes_nothing_is_none() -> None:
    outcome = verdict(rules(export(as_={"name": "a"})), service("a"))
    assert isinstance(outcome, Exported)
    assert (outcome.offer.host, outcome.offer.sni_host) == ("a.default.svc.cluster.local", "")


@pytest.mark.parametrize(
    ("spec", "exports"),
    [
        ({"serviceExports": True, "rules": [export(names=["b"])]}, True),
        ({"serviceExports": True, **LABELLED}, True),
        ({"serviceExports": False, **LABELLED}, False),
        ({"serviceExports": True, "rules": [deny(names=["a"])]}, False),
    ],
)
def test_a_service_export_adds_to_what_is_selected_but_not_to_what_is_denied(
    spec: dict[str, Any], *, exports: bool
) -> None:
    assert isinstance(verdict(spec, service("a"), has_service_export=True), Exported) is exports


def test_hosts_end_in_our_cluster_domain() -> None:
    east = local_mesh(mesh_federation(clusterDomain="east.example"))
    outcome = decide(east, Export(), typed(Service, service("a")), {})
    assert isinstance(outcome, Exported)
    assert outcome.offer.host == "a.default.svc.east.example"


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"port": 1, "name": "http"}, "HTTP"),
        ({"port": 1, "name": "http-web"}, "HTTP"),
        ({"port": 1, "name": "HTTP2-x"}, "HTTP2"),
        ({"port": 1, "name": "https"}, "HTTPS"),
        ({"port": 1, "name": "grpc-web-x"}, "GRPC-WEB"),
        ({"port": 1, "name": "grpc-x"}, "GRPC"),
        ({"port": 1, "name": "tls"}, "TLS"),
        ({"port": 1, "name": "mongo-db"}, "MONGO"),
        ({"port": 1, "name": "tcp-x"}, "TCP"),
        ({"port": 1, "name": "httpx"}, ""),
        ({"port": 1, "name": "web"}, ""),
        ({"port": 1}, ""),
        ({"port": 3306, "name": "db"}, "TCP"),
        ({"port": 1, "name": "tcp", "appProtocol": "http"}, "HTTP"),
        ({"port": 1, "name": "http", "appProtocol": "kubernetes.io/h2c"}, "HTTP2"),
        ({"port": 1, "name": "http", "appProtocol": "kubernetes.io/wss"}, "HTTPS"),
        ({"port": 1, "name": "http", "appProtocol": "example.com/mine"}, ""),
    ],
)
def test_protocol(port: dict[str, Any], expected: str) -> None:
    assert protocol(typed(ServicePort, port)) == expected


def test_one_host_has_one_holder_and_the_services_own_name_comes_first() -> None:
    def claim(name: str, alias: str = "", created: str = "2026-01-01") -> tuple[Exported, str]:
        spec = rules(export(as_={"name": alias})) if alias else EVERYTHING
        outcome = verdict(spec, service(name))
        assert isinstance(outcome, Exported)
        return outcome, created

    own, older, old = (
        claim("pay", created="2026-03-01"),
        claim("z", "pay", "2026-01-01"),
        claim("a", "pay", "2026-02-01"),
    )
    assert holder([old, own, older]) == own[0].service
    assert holder([old, older]) == older[0].service
    assert holder([claim("b", "pay"), claim("a", "pay")]) == claim("a", "pay")[0].service
    assert holder([]) is None


THREE = service("a", ports=[port(8080), port(9000, "grpc"), port(9464, "metrics"), port(53, "dns", protocol="UDP")])


@pytest.mark.parametrize(
    ("given", "offered", "left_out", "by_port"),
    [
        ([export()], [8080, 9000, 9464], {}, False),
        ([export(names=["b"], ports=[8080]), export()], [8080, 9000, 9464], {}, False),
        ([export(ports=["http", 9000])], [8080, 9000], {9464: "export rule 1 is for other ports"}, True),
        ([export(ports=["*"])], [8080, 9000, 9464], {}, True),
        ([deny(ports=["metrics*"]), export()], [8080, 9000], {9464: "export rule 1 denies it"}, True),
        ([deny(ports=[1]), export()], [8080, 9000, 9464], {}, True),
        ([export(ports=["none"], as_={"name": "x"}), export()], [8080, 9000, 9464], {}, True),
    ],
)
def test_rules_are_for_ports(
    given: list[dict[str, Any]], offered: list[int], left_out: dict[int, str], *, by_port: bool
) -> None:
    outcome = verdict(rules(*given), THREE)
    assert isinstance(outcome, Exported)
    assert ([port.number for port in outcome.offer.ports], outcome.by_port) == (offered, by_port)
    assert {one.port.number: one.why for one in outcome.left_out} == left_out
    assert not outcome.offer.sni_host


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            [export(ports=["none"])],
            "matches none of the 1 export rules with port 8080 http, 9000 grpc, 9464 metrics",
        ),
        (
            [deny(ports=["http"]), deny(names=["b"]), export(ports=["none"])],
            "the 3 export rules with port 9000 grpc, 9464 metrics; left out: port 8080 http (export rule 1 denies",
        ),
        ([deny(ports=["*"]), export()], "is denied by export rule 1"),
        ([deny(ports=["http", "grpc"]), deny(ports=[9464]), export()], "is denied by export rule 2"),
    ],
)
def test_without_a_port_that_a_rule_exports_the_service_is_not_exported(given: list[dict[str, Any]], says: str) -> None:
    outcome = verdict(rules(*given), THREE)
    assert isinstance(outcome, Decision)
    assert outcome.reason is Reason.DENIED_BY_RULE
    assert says in outcome.message


def test_a_port_that_cannot_be_offered_may_be_left_out() -> None:
    odd = service("a", ports=[port(8080), port(9464, "m" * 63)])
    assert isinstance(verdict(EVERYTHING, odd), Decision)
    assert isinstance(verdict(rules(export(ports=["http"])), odd), Exported)


def test_a_port_without_a_name_is_called_by_its_number() -> None:
    alone = service("a", ports=[{"port": 8080}])
    assert isinstance(verdict(rules(export(ports=["port-8080"])), alone), Exported)
