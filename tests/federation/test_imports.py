"""Whether an offer is taken under its remote's import rules, and as which host."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.api.v1alpha1 import ImportPolicy, RemoteMesh
from meshfed.federation.imports import Verdict, beside_local, capturing, judge, record_name
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Reason
from meshfed.plan import meshes
from tests.builders import host, remote_mesh, typed
from tests.world import local_mesh

HTTP = Port(number=9080, name="http", protocol="HTTP")
WEST = meshes.remote(typed(RemoteMesh, remote_mesh("west")))


def verdict(
    spec: dict[str, Any] | None, offered: str, *, ports: tuple[Port, ...] = (HTTP,), domain: str = "cluster.local"
) -> Verdict:
    west = meshes.remote(typed(RemoteMesh, remote_mesh("west", clusterDomain=domain)))
    rules = None if spec is None else typed(ImportPolicy, spec)
    return judge(local_mesh(), west, rules, Offer(host=offered, ports=ports, labels={"app": "a", "tier": "web"}))


def allow(**parts: Any) -> dict[str, Any]:
    return {"action": "Import"} | {key.rstrip("_"): value for key, value in parts.items()}


def deny(**parts: Any) -> dict[str, Any]:
    return {"action": "Deny", **parts}


@pytest.mark.parametrize(
    ("spec", "offered", "imported"),
    [
        pytest.param({}, host("a.ns"), host("a.ns"), id="everything, as offered"),
        pytest.param({"rules": [allow(hosts=["a.*"])]}, host("a.ns"), host("a.ns"), id="a glob for the host"),
        pytest.param({"rules": [allow(namespaces=["n*"])]}, host("a.ns"), host("a.ns"), id="a glob for the namespace"),
        pytest.param(
            {"rules": [allow(labels={"matchLabels": {"tier": "web"}})]}, host("a.ns"), host("a.ns"), id="a label"
        ),
        pytest.param(
            {"rules": [allow(hosts=["a.*"]), deny()]}, host("a.ns"), host("a.ns"), id="the first rule decides"
        ),
        pytest.param(
            {"rules": [allow(as_={"host": "{name}.{namespace}.svc.west.mesh"})]},
            host("ratings.bookinfo"),
            "ratings.bookinfo.svc.west.mesh",
            id="an alias with placeholders",
        ),
        pytest.param(
            {"rules": [allow(hosts=["api.example.com"], as_={"host": "api.west.example"})]},
            "api.example.com",
            "api.west.example",
            id="a host outside the remote's domain, where a rule says what it becomes",
        ),
        pytest.param(
            {"rules": [allow(namespaces=["kube-system"])]},
            host("a.kube-system"),
            host("a.kube-system"),
            id="a protected namespace, named outright",
        ),
        pytest.param(
            {"rules": [allow(hosts=[host("a.kube-system")])]},
            host("a.kube-system"),
            host("a.kube-system"),
            id="a host in a protected namespace, named outright",
        ),
        pytest.param(
            {"rules": [allow(namespaces=["kube-system"], as_={"host": "{name}.west.svc.cluster.local"})]},
            host("a.kube-system"),
            host("a.west"),
            id="protection applies to the result",
        ),
        pytest.param(
            {"rules": [allow(hosts=[host("a.ns")], as_={"host": host("a.kube-system")})]},
            host("a.ns"),
            host("a.kube-system"),
            id="an alias names a protected namespace outright",
        ),
        pytest.param(
            {"rules": [allow(hosts=[host("kubernetes")])]}, host("kubernetes"), host("kubernetes"), id="the API server"
        ),
    ],
)
def test_imported(spec: dict[str, Any], offered: str, imported: str) -> None:
    outcome = verdict(spec, offered)
    assert (outcome.decision.accepted, outcome.host) == (True, imported), outcome


@pytest.mark.parametrize(
    ("spec", "offered", "reason"),
    [
        pytest.param(None, host("a.ns"), Reason.NOT_IMPORTED, id="no import"),
        pytest.param({"rules": [allow(hosts=["b.*"])]}, host("a.ns"), Reason.DENIED_BY_RULE, id="no rule matches"),
        pytest.param({"rules": [deny(hosts=["a.*"]), allow()]}, host("a.ns"), Reason.DENIED_BY_RULE, id="denied"),
        pytest.param(
            {"rules": [allow(labels={"matchLabels": {"tier": "db"}})]}, host("a.ns"), Reason.DENIED_BY_RULE, id="label"
        ),
        pytest.param({}, "a.example.com", Reason.INVALID_HOST, id="not a Service of the remote"),
        pytest.param({}, "a.b.ns.svc.cluster.local", Reason.INVALID_HOST, id="one label too many"),
        pytest.param(
            {"rules": [allow(as_={"host": "{name}.{namespace}.svc.west.mesh"})]},
            "a.example.com",
            Reason.INVALID_HOST,
            id="placeholders without a name to put in",
        ),
        pytest.param({}, host("a.kube-system"), Reason.PROTECTED_NAMESPACE, id="kube-system"),
        pytest.param({}, host("a.openshift-x"), Reason.PROTECTED_NAMESPACE, id="openshift-*"),
        pytest.param({}, host("a.istio-system"), Reason.PROTECTED_NAMESPACE, id="control plane"),
        pytest.param({}, host("kubernetes"), Reason.PROTECTED_NAMESPACE, id="the API server"),
        pytest.param(
            {"rules": [allow(namespaces=["default"])]},
            host("kubernetes"),
            Reason.PROTECTED_NAMESPACE,
            id="naming its namespace does not name the API server",
        ),
        pytest.param(
            {"rules": [allow(namespaces=["kube-*"])]},
            host("a.kube-system"),
            Reason.PROTECTED_NAMESPACE,
            id="a wildcard names nothing outright",
        ),
        pytest.param(
            {"rules": [allow(as_={"host": "{name}.{namespace}"})]},
            host("a.kube-system"),
            Reason.PROTECTED_NAMESPACE,
            id="a short alias speaks for the namespace too",
        ),
        pytest.param(
            {
                "rules": [
                    allow(namespaces=["ns"], as_={"host": "federation-discovery-service-{name}.ns.svc.cluster.local"})
                ]
            },
            host("north.ns"),
            Reason.PROTECTED_NAMESPACE,
            id="a discovery service is nobody's to speak for",
        ),
    ],
)
def test_refused(spec: dict[str, Any] | None, offered: str, reason: Reason) -> None:
    outcome = verdict(spec, offered)
    assert (outcome.decision.accepted, outcome.decision.reason, outcome.host) == (False, reason, "")


def test_hosts_are_read_in_the_remotes_cluster_domain_and_kept_as_offered() -> None:
    assert verdict({}, host("a.ns", "west.local"), domain="west.local").host == "a.ns.svc.west.local"
    assert verdict({}, host("a.ns"), domain="west.local").decision.reason is Reason.INVALID_HOST
    protected = verdict({}, host("a.kube-system", "west.local"), domain="west.local")
    assert protected.decision.reason is Reason.PROTECTED_NAMESPACE


@pytest.mark.parametrize("protocol", ["TCP", "MONGO", ""])
def test_a_port_that_would_capture_all_traffic_on_its_number_needs_allow_tcp(protocol: str) -> None:
    ports = (HTTP, Port(number=27017, name="db", protocol=protocol))
    outcome = verdict({}, host("a.ns"), ports=ports)
    assert [(one.port.number, one.reason) for one in capturing(WEST, outcome)] == [(27017, Reason.TCP_NOT_ALLOWED)]
    assert capturing(WEST, verdict({"allowTCP": True}, host("a.ns"), ports=ports)) == ()


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"rules": [allow(allowTCP=True)]}, True),
        ({"allowTCP": True, "rules": [allow(allowTCP=False)]}, False),
        ({"allowTCP": True, "rules": [allow()]}, True),
        ({"rules": [allow(hosts=["b.*"], allowTCP=True), allow()]}, False),
    ],
)
def test_a_rule_decides_about_tcp_before_its_remote_does(spec: dict[str, Any], *, allowed: bool) -> None:
    outcome = verdict(spec, host("a.ns"), ports=(Port(number=5432, name="db", protocol="TCP"),))
    assert (capturing(WEST, outcome) == ()) is allowed


GRPC, METRICS = Port(number=9000, name="grpc", protocol="GRPC"), Port(number=9464, name="metrics")


@pytest.mark.parametrize(
    ("rules", "taken", "why"),
    [
        ([allow(ports=[9080])], [9080], {9000: "import rule 1 is for other ports", 9464: "import rule 1 is for other"}),
        ([allow(ports=["http*", "g*c"])], [9080, 9000], {9464: "import rule 1 is for other ports"}),
        ([deny(ports=["metrics"]), allow()], [9080, 9000], {9464: "import rule 1 denies it"}),
        (
            [deny(ports=[9464]), deny(hosts=["b.*"]), allow(ports=["http"]), allow()],
            [9080],
            {9000: "import rule 3 is for other ports", 9464: "import rule 1 denies it"},
        ),
        ([allow(ports=["nothing"], merge=True), allow()], [9080, 9000, 9464], {}),
    ],
)
def test_rules_are_for_ports(rules: list[dict[str, Any]], taken: list[int], why: dict[int, str]) -> None:
    outcome = verdict({"rules": rules}, host("a.ns"), ports=(HTTP, GRPC, METRICS))
    assert (outcome.host, [port.number for port in outcome.ports]) == (host("a.ns"), taken)
    told = {one.port.number: one.why for one in outcome.left_out}
    assert told.keys() == why.keys()
    assert all(told[number].startswith(why[number]) for number in why), told
    assert not outcome.merge


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (
            [allow(ports=["nothing"])],
            "matches none of the 1 import rules of RemoteMesh west with port 9",
        ),
        ([deny(ports=["http", "grpc"]), deny(ports=["metrics"]), allow()], "is denied by import rule 2"),
        ([deny(ports=["http"]), deny(), allow()], "is denied by import rule 2"),
    ],
)
def test_without_a_port_that_a_rule_imports_the_host_is_refused(rules: list[dict[str, Any]], says: str) -> None:
    outcome = verdict({"rules": rules}, host("a.ns"), ports=(HTTP, GRPC, METRICS))
    assert (outcome.decision.reason, outcome.host) == (Reason.DENIED_BY_RULE, "")
    assert says in outcome.decision.message


@pytest.mark.parametrize(
    ("spec", "merges"),
    [
        ({}, False),
        ({"merge": True}, True),
        ({"rules": [allow(merge=True)]}, True),
        ({"merge": True, "rules": [allow(merge=False)]}, False),
        ({"merge": True, "rules": [allow()]}, True),
    ],
)
def test_a_rule_decides_about_merging_before_its_remote_does(spec: dict[str, Any], *, merges: bool) -> None:
    assert verdict(spec, host("a.ns")).merge is merges


def test_beside_a_local_service_only_with_merge_and_only_where_nobody_else_selects_the_same_pods() -> None:
    west = meshes.remote(typed(RemoteMesh, remote_mesh("west")))
    service = ServiceHost.parse(host("a.ns"), "cluster.local")
    assert service is not None

    def outcome(*, merge: bool, shared: str = "") -> Reason | None:
        given = verdict({"merge": merge}, host("a.ns"))
        decision = beside_local(west, given, service, selector_shared_with=shared)
        return decision.reason if decision is not None else None

    assert outcome(merge=False) is Reason.LOCAL_SERVICE_EXISTS
    assert outcome(merge=True) is None
    assert outcome(merge=True, shared="b") is Reason.SELECTOR_SHARED


def test_a_record_is_named_after_its_host_and_remote_and_always_validly() -> None:
    assert record_name(host("a.ns"), "west") == "a.ns.svc.cluster.local.west"
    long = record_name(".".join(["a" * 60] * 4), "west")
    assert len(long) <= 253
    assert long != record_name(".".join(["a" * 60] * 4), "north")
