"""Checks: each has a mesh in which it is ok and one in which it is not, and none is ok without having seen it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from meshfed.kube import Manifest
from meshfed.model.importers import Echo, LastInPlace, RemoteImports
from meshfed.model.probes import Broken, Link
from meshfed.views.checks import BEFORE, CHECKS, OF_REMOTE, CheckOutcome, Proof, Reviewed, Root, run
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Clock, Server
from tests.builders import SYSTEM, config_map, crd, host, manifest, mesh_federation, namespace, pod, remote_mesh
from tests.cli.fakes import NOW, condition, imported, lease
from tests.views.healthy import (
    NEED,
    answered,
    configured,
    controller,
    east,
    facts,
    front,
    gateway,
    istiod,
    said,
    west,
)

Changes = Mapping[str, Manifest | None]
NO = "you may not list {0} in all namespaces"
GONE = lease("controller-1", renewed="2026-01-01T11:00:00Z")
BROKEN = imported("west", "ratings", condition("Reachable", False, "NotPassedOn", "closed at the SNI"))
RULE = "is denied by import rule 2 of RemoteMesh west"

OF_ONE = [one for one in CHECKS if one.group != "across"]


def importing(*, says: bool = True, **said: Any) -> ImportersSeen:
    """What is known where west says that."""
    return ImportersSeen({"west": RemoteImports(says=says, whole=says, **said)})


def sidecar(mode: str, name: str = "theirs", **selecting: str) -> Manifest:
    """A Sidecar in the controller's namespace that says what becomes of unknown destinations."""
    spec: dict[str, Any] = {"outboundTrafficPolicy": {"mode": mode}}
    spec |= {"workloadSelector": {"labels": selecting}} if selecting else {}
    return manifest("Sidecar", name, spec)


def shared(mesh: str) -> Manifest:
    """The ConfigMap that an istiod merges under its own."""
    return config_map("ours", namespace=SYSTEM, mesh=mesh)


CASES: list[tuple[str, Changes, dict[str, Any], CheckOutcome, str]] = [
    # --- cluster
    (
        "cluster/clock",
        {},
        {"server": Server("v1.31.2", Clock(300.0, 0.6))},
        CheckOutcome.WARNING,
        "is 5m ahead of the clock here, to within",
    ),
    (
        "cluster/clock",
        {},
        {"server": Server("v1.31.2", Clock(-300.0, 0.6))},
        CheckOutcome.WARNING,
        "is 5m behind the clock here, to within",
    ),
    ("cluster/clock", {}, {"server": Server("v1.31.2")}, CheckOutcome.UNKNOWN, "does not say what time it is"),
    (
        "cluster/controller-clock",
        {"lease": lease("controller-1", renewed="2026-01-01T12:05:00Z")},
        {},
        CheckOutcome.WARNING,
        "a controller renewed its Lease 5m from now, by the API server's clock",
    ),
    (
        "cluster/controller-clock",
        {},
        {"server": Server("v1.31.2")},
        CheckOutcome.UNKNOWN,
        "does not say what time it is",
    ),
    ("cluster/controller-clock", {"lease": None}, {}, CheckOutcome.SKIPPED, "no controller has a Lease"),
    ("cluster/kubernetes", {}, {"server": Server("v1.26.9")}, CheckOutcome.FAILED, "Kubernetes is v1.26.9"),
    ("cluster/kubernetes", {}, {"server": Server()}, CheckOutcome.UNKNOWN, "does not say its version"),
    (
        "cluster/istio-kinds",
        {},
        {"unread": {"Gateway": "the cluster does not serve Gateway.networking.istio.io"}},
        CheckOutcome.FAILED,
        "does not serve Istio's Gateway",
    ),
    ("cluster/crds", {"remotemeshes": None}, {}, CheckOutcome.FAILED, "does not have remotemeshes.federation"),
    (
        "cluster/crds",
        {"remotemeshes": crd("RemoteMesh", "remotemeshes", "federation.openshift-service-mesh.io")},
        {},
        CheckOutcome.FAILED,
        "is not Meshfed's",
    ),
    (
        "cluster/crds",
        {},
        {"unread": {"CustomResourceDefinition": "you may not get them"}},
        CheckOutcome.UNKNOWN,
        "you may not get them",
    ),
    # --- permissions
    ("permissions/reading", {}, {"unread": {"Pod": NO.format("pods")}}, CheckOutcome.UNKNOWN, NO.format("pods")),
    (
        "permissions/controller",
        {},
        {"access": {NEED: Reviewed(False)}},
        CheckOutcome.FAILED,
        "ServiceAccount istio-system/federation-controller-east may not list services",
    ),
    (
        "permissions/controller",
        {},
        {"access": {NEED: Reviewed(None, "you may not create subjectaccessreviews")}},
        CheckOutcome.UNKNOWN,
        "you may not create subjectaccessreviews",
    ),
    ("permissions/controller", {}, {"access": {}}, CheckOutcome.UNKNOWN, "nobody was asked"),
    ("permissions/controller", {"controller": None}, {}, CheckOutcome.UNKNOWN, "there is no Pod of a controller"),
    ("permissions/controller", {}, {"unread": {"Pod": NO.format("pods")}}, CheckOutcome.UNKNOWN, NO.format("pods")),
    # --- istio
    ("istio/istiod", {"istiod": istiod(ready=0)}, {}, CheckOutcome.FAILED, "has no pod that is ready"),
    ("istio/istiod", {"istiod": None}, {}, CheckOutcome.UNKNOWN, "there is no Deployment with the label app=istiod"),
    ("istio/istiod", {}, {"unread": {"Deployment": "you may not list them"}}, CheckOutcome.UNKNOWN, "you may not"),
    ("istio/dns-capture", {"config": configured(capture='"false"')}, {}, CheckOutcome.WARNING, "does not resolve"),
    ("istio/dns-capture", {"config": None}, {}, CheckOutcome.UNKNOWN, "no ConfigMap with Istio's configuration"),
    (
        "istio/outbound-policy",
        {"config": configured("REGISTRY_ONLY"), "west": west(port=443)},
        {},
        CheckOutcome.WARNING,
        "at port 443 of Pod controller-1",
    ),
    ("istio/outbound-policy", {"config": configured("REGISTRY_ONLY")}, {}, CheckOutcome.OK, "REGISTRY_ONLY"),
    ("istio/outbound-policy", {"config": configured("''")}, {}, CheckOutcome.OK, "has REGISTRY_ONLY"),
    (
        "istio/outbound-policy",
        {"west": west(port=443), "sidecar": sidecar("REGISTRY_ONLY")},
        {},
        CheckOutcome.WARNING,
        "Sidecar istio-system/theirs has REGISTRY_ONLY, and the controller's sidecar lets no handshake through",
    ),
    (
        "istio/outbound-policy",
        {"config": configured("REGISTRY_ONLY"), "west": west(port=443), "sidecar": sidecar("ALLOW_ANY")},
        {},
        CheckOutcome.OK,
        "Sidecar istio-system/theirs has ALLOW_ANY: unknown destinations are let through",
    ),
    (
        "istio/outbound-policy",
        {"west": west(port=443), "sidecar": sidecar("REGISTRY_ONLY", app="other")},
        {},
        CheckOutcome.OK,
        "ConfigMap istio-system/istio has ALLOW_ANY",
    ),
    (
        "istio/outbound-policy",
        {
            "west": west(port=443),
            "all": sidecar("ALLOW_ANY", "all"),
            "ours": sidecar("REGISTRY_ONLY", "ours", **{"app.kubernetes.io/name": "federation-controller"}),
        },
        {},
        CheckOutcome.WARNING,
        "Sidecar istio-system/ours has REGISTRY_ONLY",
    ),
    (
        "istio/outbound-policy",
        {},
        {"unread": {"Sidecar": NO.format("sidecars")}},
        CheckOutcome.UNKNOWN,
        "has ALLOW_ANY, and whether handshakes pass the controller's sidecar is unknown: you may not list sidecars",
    ),
    ("istio/mesh-config", {}, {}, CheckOutcome.OK, "istiod has it from ConfigMap istio-system/istio alone"),
    ("istio/mesh-config", {"istiod": None}, {}, CheckOutcome.UNKNOWN, "there is no Deployment of istiod here"),
    (
        "istio/mesh-config",
        {"istiod": istiod(shared="ours"), "shared": shared("defaultConfig: {holdApplicationUntilProxyStarts: true}")},
        {},
        CheckOutcome.OK,
        "under ConfigMap istio-system/istio (SHARED_MESH_CONFIG); that says nothing else",
    ),
    (
        "istio/mesh-config",
        {
            "istiod": istiod(shared="ours"),
            "shared": shared("{trustDomain: a, trustDomainAliases: [b], rootNamespace: c}"),
        },
        {},
        CheckOutcome.WARNING,
        "does not read that, knows nothing of its `trustDomainAliases`, `rootNamespace`",
    ),
    (
        "istio/mesh-config",
        {"istiod": istiod(shared="ours")},
        {"unread": {"ConfigMap": "you may not get configmaps ours in namespace istio-system"}},
        CheckOutcome.UNKNOWN,
        "you may not get configmaps ours in namespace istio-system, and so whether istiod reads more",
    ),
    (
        "istio/outbound-policy",
        {
            "istiod": istiod(shared="ours"),
            "shared": shared("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"),
            "config": config_map("istio", namespace=SYSTEM, mesh="trustDomain: cluster.local"),
            "west": west(port=443),
        },
        {},
        CheckOutcome.WARNING,
        "ConfigMap istio-system/istio, with ConfigMap istio-system/ours under it, has REGISTRY_ONLY",
    ),
    (
        "istio/network",
        {"system": namespace(SYSTEM)},
        {},
        CheckOutcome.WARNING,
        "has no label topology.istio.io/network",
    ),
    (
        "istio/network",
        {"system": namespace(SYSTEM, **{"topology.istio.io/network": "other"})},
        {},
        CheckOutcome.FAILED,
        "one mesh would have two networks",
    ),
    ("istio/network", {"system": None}, {}, CheckOutcome.FAILED, "there is no namespace istio-system"),
    ("istio/network", {}, {"unread": {"Namespace": "you may not"}}, CheckOutcome.UNKNOWN, "you may not"),
    (
        "istio/gateway-view",
        {"gateway": gateway(view=None)},
        {},
        CheckOutcome.WARNING,
        "does not have ISTIO_META_REQUESTED",
    ),
    ("istio/gateway-view", {"gateway": gateway(view="")}, {}, CheckOutcome.WARNING, "has ISTIO_META_REQUESTED"),
    ("istio/gateway-view", {"gateway": gateway(network="other")}, {}, CheckOutcome.FAILED, "network=other"),
    ("istio/gateway-view", {"gateway": gateway(ready=False)}, {}, CheckOutcome.SKIPPED, "no gateway pod that is ready"),
    ("istio/roots", {}, {"roots": (Root("old", NOW - timedelta(days=1)),)}, CheckOutcome.FAILED, "have expired: old"),
    ("istio/roots", {}, {"roots": (Root("old", NOW + timedelta(days=9)),)}, CheckOutcome.WARNING, "old ends in 9d"),
    ("istio/roots", {}, {"roots": (), "no_roots": "there is no ConfigMap"}, CheckOutcome.UNKNOWN, "no ConfigMap"),
    # --- mesh
    ("mesh/mesh-federation", {"mesh": None}, {}, CheckOutcome.FAILED, "there is no MeshFederation in namespace"),
    (
        "mesh/mesh-federation",
        {"second": mesh_federation("second", created="2026-01-01T12:00:00Z")},
        {},
        CheckOutcome.FAILED,
        "besides there is istio-system/second",
    ),
    (
        "mesh/mesh-federation",
        {"config": configured(trust_domain="other.example")},
        {},
        CheckOutcome.FAILED,
        "`spec.trustDomain` is cluster.local",
    ),
    ("mesh/mesh-federation", {}, {"unread": {"MeshFederation": "you may not"}}, CheckOutcome.UNKNOWN, "you may not"),
    ("mesh/controller", {"lease": GONE}, {}, CheckOutcome.FAILED, "was last heard 60m ago"),
    ("mesh/controller", {"lease": None, "controller": None}, {}, CheckOutcome.FAILED, "no Lease and no Pod"),
    (
        "mesh/controller",
        {"lease": None, "controller": controller(ready=False)},
        {},
        CheckOutcome.FAILED,
        "is not ready",
    ),
    ("mesh/controller", {"lease": None}, {}, CheckOutcome.OK, "Pod controller-1 is ready"),
    (
        "mesh/controller",
        {},
        {"unread": {"Lease": "you may not list leases", "Pod": "you may not list pods"}},
        CheckOutcome.UNKNOWN,
        "you may not list leases",
    ),
    (
        "mesh/version",
        {"controller": controller(image="meshfed:9.9.9")},
        {},
        CheckOutcome.WARNING,
        "the controller is 9.9.9",
    ),
    ("mesh/version", {"controller": controller(image="meshfed")}, {}, CheckOutcome.UNKNOWN, "no image"),
    ("mesh/gateway", {"gateway": None}, {}, CheckOutcome.FAILED, "no pod has the labels"),
    ("mesh/gateway", {"front": front(ports=[{"port": 443}])}, {}, CheckOutcome.FAILED, "has no port 15443"),
    (
        "mesh/gateway",
        {"mesh": east(condition("GatewayReady", False, "GatewayPodsMissing", "no pod"))},
        {},
        CheckOutcome.FAILED,
        "no pod",
    ),
    (
        "mesh/gateway",
        {"mesh": east(condition("GatewayReady", True, "GatewayCrowded", "3000 ports are exported"))},
        {},
        CheckOutcome.WARNING,
        "3000 ports",
    ),
    ("mesh/gateway", {"lease": GONE}, {}, CheckOutcome.UNKNOWN, "nobody keeps it up to date"),
    (
        "mesh/exports",
        {"reviews-1": pod("reviews-1", "reviews", sidecar=False)},
        {},
        CheckOutcome.FAILED,
        "default/reviews",
    ),
    ("mesh/exports", {"reviews-1": None}, {}, CheckOutcome.FAILED, "default/reviews is exported, and no pod"),
    (
        "mesh/exports",
        {"reviews-1": pod("reviews-1", "reviews", ready=False)},
        {},
        CheckOutcome.FAILED,
        "default/reviews is exported, and no pod",
    ),
    ("mesh/exports", {"lease": GONE}, {}, CheckOutcome.UNKNOWN, "nobody keeps it up to date"),
    # --- remotes
    ("remotes/ready", {"west": west(network="east-network")}, {}, CheckOutcome.FAILED, "network"),
    (
        "remotes/ready",
        {"west": west(condition("Ready", False, "WriteFailed", "the webhook says no"))},
        {},
        CheckOutcome.FAILED,
        "the webhook says no",
    ),
    ("mesh/linked", {"west": None, "ratings": None}, {}, CheckOutcome.WARNING, "it federates with nobody yet"),
    ("mesh/linked", {}, {"unread": {"RemoteMesh": "you may not"}}, CheckOutcome.UNKNOWN, "you may not"),
    (
        "mesh/linked",
        {"west": None, "controller": controller("--meshPeers={}")},
        {},
        CheckOutcome.SKIPPED,
        "--meshPeers",
    ),
    (
        "remotes/ready",
        {"west": west(condition("Ready", True, "ImportsNotReached", "ratings is not reached"))},
        {},
        CheckOutcome.WARNING,
        "ratings is not reached",
    ),
    ("remotes/ready", {}, {"unread": {"RemoteMesh": "you may not"}}, CheckOutcome.UNKNOWN, "you may not"),
    (
        "remotes/identity",
        {
            "north": remote_mesh(
                "north", identity="spiffe://cluster.local/ns/istio-system/sa/federation-controller-west"
            )
        },
        {"remote": "west"},
        CheckOutcome.FAILED,
        "is also the identity of RemoteMesh north",
    ),
    (
        "remotes/connected",
        {"west": west(condition("Connected", False, "Unreachable", "connection refused")), "ratings": None},
        {},
        CheckOutcome.FAILED,
        "connection refused",
    ),
    (
        "remotes/connected",
        {"west": west(condition("Connected", False, "Unreachable", "connection refused"))},
        {},
        CheckOutcome.WARNING,
        "connection refused",
    ),
    (
        "remotes/synced",
        {"west": west(condition("Connected", False, "Unreachable"), condition("Synced", False, "NotSynced", "away"))},
        {},
        CheckOutcome.SKIPPED,
        "it is not connected, which another check says",
    ),
    (
        "remotes/synced",
        {"west": west(condition("Connected", False, "Unreachable"), condition("Synced", False, "Stale", "1h"))},
        {},
        CheckOutcome.FAILED,
        "1h",
    ),
    ("remotes/connected", {"west": west(import_=None)}, {}, CheckOutcome.SKIPPED, "nothing is imported from it"),
    (
        "remotes/synced",
        {"west": west(condition("Synced", False, "WithdrawalHeld", "20 hosts are held"))},
        {},
        CheckOutcome.FAILED,
        "20 hosts are held",
    ),
    (
        "remotes/subscribed",
        {"west": west(condition("Subscribed", False, "NotSubscribed", "nobody has subscribed"))},
        {},
        CheckOutcome.UNKNOWN,
        "nobody has subscribed",
    ),
    ("remotes/subscribed", {"west": west(without="Subscribed")}, {}, CheckOutcome.SKIPPED, "does not say"),
    (
        "remotes/gateway",
        {"west": west(condition("Reachable", False, "GatewayNotReached", "192.0.2.10:15443: no answer"))},
        {},
        CheckOutcome.FAILED,
        "no answer",
    ),
    ("remotes/gateway", {"west": west(without="Reachable")}, {}, CheckOutcome.UNKNOWN, "has not looked yet"),
    ("remotes/gateway", {"controller": controller("--no-probe")}, {}, CheckOutcome.SKIPPED, "--no-probe"),
    ("remotes/gateway", {"lease": GONE}, {}, CheckOutcome.UNKNOWN, "nobody keeps it up to date"),
    ("remotes/gateway-from-here", {}, {}, CheckOutcome.SKIPPED, "it is tried with --probe"),
    (
        "remotes/gateway-from-here",
        {},
        {"finding": answered("spiffe://a/b")},
        CheckOutcome.UNKNOWN,
        "The controller reaches",
    ),
    (
        "remotes/gateway-from-here",
        {"west": west(without="Reachable")},
        {"finding": answered("spiffe://a/b")},
        CheckOutcome.FAILED,
        "tried from here, and not from the mesh",
    ),
    ("remotes/gateway-from-here", {}, {"finding": answered(), "roots": ()}, CheckOutcome.UNKNOWN, "no roots"),
    ("remotes/certificate", {}, {}, CheckOutcome.SKIPPED, "--probe"),
    (
        "remotes/certificate",
        {},
        {"finding": answered(valid=timedelta(minutes=3))},
        CheckOutcome.WARNING,
        "valid for 3m",
    ),
    ("remotes/imports", {"ratings": BROKEN}, {}, CheckOutcome.FAILED, "ratings.default.svc.cluster.local: closed at"),
    (
        "remotes/imports",
        {"ratings": imported("west", "ratings", condition("Reachable", "Unknown", "NotProbed"))},
        {},
        CheckOutcome.UNKNOWN,
        "whether anybody answers was not seen",
    ),
    (
        "remotes/imports",
        {"ratings": imported("west", "ratings", condition("Accepted", False, "LocalServiceExists", "a local one"))},
        {},
        CheckOutcome.WARNING,
        "a local one",
    ),
    (
        "remotes/imports",
        {"ratings": imported("west", "ratings", condition("Accepted", True, "PortsLeftOut", "9081 is left out"))},
        {},
        CheckOutcome.WARNING,
        "9081 is left out",
    ),
    (
        "remotes/imports",
        {
            "ratings": imported(
                "west", "ratings", condition("Accepted", False, "DeniedByRule", f"{host('ratings')} {RULE}")
            )
        },
        {},
        CheckOutcome.WARNING,
        f"{host('ratings')} {RULE}",
    ),
    (
        "remotes/imports",
        {
            name: imported("west", name, condition("Accepted", False, "DeniedByRule", f"{host(name)} {RULE}"))
            for name in ("ratings", "details")
        },
        {},
        CheckOutcome.WARNING,
        f"of 2 hosts each {RULE}: {host('details')}, {host('ratings')}",
    ),
    (
        "remotes/propagation",
        {},
        {"importers": importing(imports=3, last=LastInPlace("ratings.default", 0.31, 40.0), echo=Echo(0.052, 30.0))},
        CheckOutcome.OK,
        "3 hosts imported there; asked at 2026-01-01T11:59:30Z, it had worked out all that it was sent after 0.052 s",
    ),
    (
        "remotes/propagation",
        {},
        {"importers": importing(imports=3, outdated=1, waiting=5.0)},
        CheckOutcome.OK,
        "3 hosts imported there, 1 of them as they were offered before; nothing that it imports changed",
    ),
    (
        "remotes/propagation",
        {},
        {"importers": importing(imports=3, outdated=2, waiting=125.0)},
        CheckOutcome.WARNING,
        "2 of 3 hosts that it imports are not in place there as they are offered now, the first for 2m",
    ),
    ("remotes/propagation", {}, {"importers": importing(says=False)}, CheckOutcome.SKIPPED, "it does not say"),
    ("remotes/propagation", {}, {"importers": ImportersSeen()}, CheckOutcome.SKIPPED, "it does not subscribe"),
    ("remotes/propagation", {}, {"importers": None}, CheckOutcome.SKIPPED, "the controller was not asked"),
    (
        "remotes/propagation",
        {},
        {"importers": ImportersSeen(why="you may not get pods/proxy in namespace a")},
        CheckOutcome.UNKNOWN,
        "who imports is not known: you may not get pods/proxy in namespace a",
    ),
    ("remotes/imports", {"lease": GONE}, {}, CheckOutcome.UNKNOWN, "nobody keeps it up to date"),
    ("remotes/imports", {"ratings": None}, {}, CheckOutcome.SKIPPED, "it offers nothing"),
]


@pytest.mark.parametrize(("name", "changes", "more", "outcome", "words"), CASES)
def test_each_check(name: str, changes: Changes, more: dict[str, Any], outcome: CheckOutcome, words: str) -> None:
    views = said(facts(changes, **more), name)
    assert outcome in {one.outcome for one in views}, views
    assert any(words in one.message for one in views), views
    if outcome is CheckOutcome.FAILED:
        assert all(one.remedy or one.reason for one in views if one.outcome is CheckOutcome.FAILED)


def test_every_check_has_a_case_in_which_it_is_not_ok() -> None:
    tested = {name for name, *_, outcome, _ in CASES if outcome not in {CheckOutcome.OK, CheckOutcome.SKIPPED}}
    assert tested == {f"{one.group}/{one.name}" for one in OF_ONE}


def test_where_nothing_is_wrong_every_check_is_ok() -> None:
    views = list(run(facts(finding=answered())))
    assert [one for one in views if one.outcome is not CheckOutcome.OK] == []
    assert [f"{one.group}/{one.check}" for one in views] == [f"{one.group}/{one.name}" for one in OF_ONE]
    assert all(one.evidence for one in views)


def test_before_an_installation() -> None:
    nothing: Changes = dict.fromkeys(
        ("mesh", "west", "ratings", "lease", "controller", "meshfederations", "remotemeshes", "federatedservices")
    )
    views = list(run(facts(nothing, before=True), BEFORE))
    assert [(one.check, one.message) for one in views if one.outcome is not CheckOutcome.OK] == []
    assert {one.check for one in views} >= {"kubernetes", "crds", "installing", "istiod", "network", "roots"}
    refused = said(facts(nothing, before=True, own={NEED: Reviewed(False)}), "permissions/installing", BEFORE)
    assert [(one.outcome, one.message) for one in refused] == [(CheckOutcome.WARNING, "you may not list services")]
    unasked = said(facts(nothing, before=True, own={NEED: Reviewed(None, "no")}), "permissions/installing", BEFORE)
    assert [one.outcome for one in unasked] == [CheckOutcome.UNKNOWN]


def test_of_one_remote_only_that_is_asked_and_whether_anybody_keeps_its_status_up_to_date() -> None:
    north = {"north": remote_mesh("north", identity="spiffe://cluster.local/ns/a/sa/north")}
    views = list(run(facts(north, remote="west"), OF_REMOTE))
    assert {one.about for one in views} == {"", "west"}
    assert [one.check for one in views if not one.about] == ["controller"]


# --- what a status is worth


@pytest.mark.parametrize("name", ["mesh/mesh-federation", "mesh/gateway", "mesh/exports", *(
    f"remotes/{name}" for name in ("ready", "identity", "gateway", "connected", "synced", "subscribed", "imports")
)])  # fmt: skip
@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"lease": GONE}, {}),
        ({"lease": manifest("Lease", "meshfed-controller", {"holderIdentity": ""})}, {}),
        ({}, {"Lease": "you may not", "Pod": "you may not"}),
    ],
)
def test_what_is_stored_is_not_believed_where_no_controller_is_known_to_live(
    name: str, changes: Changes, unread: dict[str, str]
) -> None:
    outcomes = {one.outcome for one in said(facts(changes, unread=unread), name)}
    assert outcomes <= {CheckOutcome.UNKNOWN, CheckOutcome.SKIPPED}
    assert CheckOutcome.UNKNOWN in outcomes


def test_what_is_stored_is_not_believed_of_an_object_that_was_changed_since() -> None:
    changed = west()
    changed["metadata"]["generation"] = 2
    found = facts({"west": changed})
    for name in ("gateway", "connected", "synced", "ready"):
        assert [one.outcome for one in said(found, f"remotes/{name}")] == [CheckOutcome.UNKNOWN]


def test_what_fails_is_said_once() -> None:
    away = [condition(type_, False, "Unreachable", "refused") for type_ in ("Ready", "Connected")]
    found = facts({"west": west(*away)})
    troubles = {CheckOutcome.FAILED, CheckOutcome.WARNING}
    assert [(one.check, one.outcome) for one in run(found) if one.outcome in troubles] == [
        ("connected", CheckOutcome.WARNING)
    ]
    missing = facts({"gateway": None})
    assert [one.check for one in run(missing) if one.outcome is CheckOutcome.FAILED] == ["gateway"]


def test_a_check_that_fails_stops_no_other() -> None:
    whole = [f"{one.group}/{one.check}" for one in run(facts())]
    broken = facts({"mesh": None, "gateway": None, "lease": None, "controller": None, "system": None, "config": None})
    assert [f"{one.group}/{one.check}" for one in run(broken)] == whole


def test_what_a_laptop_cannot_reach_is_unknown_where_the_controller_does_or_nobody_knows() -> None:
    unreached = Broken(Link.ADDRESS, "no answer within 4 s")
    for changes in ({}, {"west": west(without="Reachable")}):
        views = said(facts(changes, finding=unreached), "remotes/gateway-from-here")
        assert [one.outcome for one in views] == [CheckOutcome.UNKNOWN]
        assert "tried from here, and not from the mesh" in views[0].message
    both = {"west": west(condition("Reachable", False, "GatewayNotReached", "no answer"))}
    views = said(facts(both, finding=unreached), "remotes/gateway-from-here")
    assert [one.outcome for one in views] == [CheckOutcome.FAILED]


def test_a_handshake_that_the_controller_made_because_it_was_asked_is_its_evidence() -> None:
    views = said(facts(proofs={"west": Proof(True)}), "remotes/gateway")
    assert [(one.outcome, one.evidence, one.since) for one in views] == [(CheckOutcome.OK, "handshake just now", "")]
    views = said(facts(proofs={"west": Proof(False, "you may not patch remotemeshes")}), "remotes/gateway")
    assert [one.outcome for one in views] == [CheckOutcome.OK, CheckOutcome.UNKNOWN]
    assert "you may not patch remotemeshes" in views[1].message
