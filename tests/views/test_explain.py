"""The chain of a host: every link can be broken, and is then the one that is named, whoever looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from meshfed.views.explain.asked import explained, missing
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.links import LinkName, State
from meshfed.views.explain.seen import seen
from meshfed.views.snapshot import Snapshot
from tests.builders import (
    SYSTEM,
    config_map,
    host,
    manifest,
    peer_authentication,
    pod,
    remote_mesh,
    service,
    service_entry,
)
from tests.cli.fakes import condition
from tests.views.federated import ENTRY, RATINGS, RECORD, World, saying, without
from tests.views.healthy import gateway

Sides = tuple[Snapshot, Snapshot]


def chain(*snapshots: Snapshot, name: str = "ratings.bookinfo") -> Chain | None:
    """The one chain from west to east; ``None`` where nothing has the name."""
    found = [one for one in explained(name, [seen(one) for one in snapshots]) if one.exporter.startswith("west")]
    assert len(found) <= 1
    return found[0] if found else None


def verdict(*snapshots: Snapshot) -> str:
    """Which link is broken, on whose side, and why; ``holds`` where none is, ``-`` where nothing has the name."""
    found = chain(*snapshots)
    if found is None:
        return "-"
    if found.broken is None:
        return "holds"
    link = found.broken
    assert link.message
    return f"{link.name} {link.whose} {link.reason or '-'}"


def states(found: Chain | None) -> dict[str, str]:
    assert found is not None
    return {str(link.name): str(link.state) for link in found.links}


def test_all_links_hold_in_meshes_that_are_federated_and_each_side_sees_its_own() -> None:
    east, west = World().snapshots()
    assert states(chain(east, west)) == dict.fromkeys(map(str, LinkName), "ok")
    exporters = {"service", "selected", "exported", "served", "gateway", "offered", "policy"}
    others = {*map(str, LinkName)} - exporters
    assert states(chain(west)) == dict.fromkeys(exporters, "ok") | dict.fromkeys(others, "unseen")
    seen_by_east = dict.fromkeys(exporters | {"described"}, "unseen") | dict.fromkeys(others - {"described"}, "ok")
    assert states(chain(east)) == seen_by_east
    assert chain(east, west) == chain(west, east)


class Case(NamedTuple):
    """A way to break a chain: before the controllers run, or of what they said, and who then says what."""

    both: str
    west: str
    east: str
    before: Callable[[World], Any] = lambda _: None
    after: Callable[[Snapshot, Snapshot], Sides] = lambda east, west: (east, west)


def export_rules(*rules: dict[str, Any]) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.one("MeshFederation", "west")["spec"]["export"] = {"rules": list(rules)}

    return change


def importing(**policy: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.one("RemoteMesh", "west", "east")["spec"]["import"] = policy

    return change


def described(mesh: str, remote: str, **spec: Any) -> Callable[[World], None]:
    return lambda world: world.one("RemoteMesh", remote, mesh)["spec"].update(spec)


def said(mesh: str, kind: str, name: str, *conditions: dict[str, Any]) -> Callable[[Snapshot, Snapshot], Sides]:
    def change(east: Snapshot, west: Snapshot) -> Sides:
        if mesh == "east":
            return saying(east, kind, name, *conditions), west
        return east, saying(west, kind, name, *conditions)

    return change


def unrecorded(*conditions: dict[str, Any]) -> Callable[[Snapshot, Snapshot], Sides]:
    """East has not recorded the offer, and says something of west."""

    def change(east: Snapshot, west: Snapshot) -> Sides:
        return saying(without(east, "FederatedService", RECORD), "RemoteMesh", "west", *conditions), west

    return change


def gone_in_west(change: Callable[[World], Any]) -> Callable[[Snapshot, Snapshot], Sides]:
    """West has changed, and east has not heard of that."""

    def after(east: Snapshot, _west: Snapshot) -> Sides:
        world = World()
        change(world)
        return east, world.snapshots()[1]

    return after


def recorded(**spec: Any) -> Callable[[Snapshot, Snapshot], Sides]:
    """East has recorded something else."""

    def change(east: Snapshot, west: Snapshot) -> Sides:
        objects = tuple(
            one | {"spec": one["spec"] | spec} if one["kind"] == "FederatedService" else one for one in east.objects
        )
        return msgspec.structs.replace(east, objects=objects), west

    return change


def unresolved(east: Snapshot, west: Snapshot) -> Sides:
    objects = tuple({**one, "status": {}} if one["metadata"]["name"] == ENTRY else one for one in east.objects)
    return msgspec.structs.replace(east, objects=objects), west


def with_local_service(world: World) -> None:
    world.east.append(service("ratings.bookinfo"))


def label_off(world: World) -> None:
    del world.one("Service", "ratings")["metadata"]["labels"]["export-service"]


def hide(world: World) -> None:
    world.one("Service", "ratings")["metadata"]["annotations"] = {"networking.istio.io/exportTo": "."}


def replace_pod(**fields: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.remove("Pod", "ratings-1")
        world.west.append(pod("ratings-1.bookinfo", "ratings", account="bookinfo-ratings", **fields))

    return change


NOT_OFFERED = "received exporter -"
UNREACHABLE = condition("Connected", False, "Unreachable", "192.0.2.10:15443: connection refused")
BREAKS = {
    "there is no Service": Case(
        "service exporter NoService",
        "-",
        "holds",
        after=gone_in_west(lambda world: world.remove("Service", "ratings")),
    ),
    "it is not labelled": Case(
        "selected exporter NotSelected", "selected exporter NotSelected", NOT_OFFERED, label_off
    ),
    "an export rule denies it": Case(
        "selected exporter DeniedByRule",
        "selected exporter DeniedByRule",
        NOT_OFFERED,
        export_rules({"action": "Deny", "names": ["ratings"]}, {"action": "Export"}),
    ),
    "there is no MeshFederation": Case(
        "selected exporter NoMeshFederation",
        "selected exporter NoMeshFederation",
        NOT_OFFERED,
        lambda world: world.remove("MeshFederation", "west"),
    ),
    "all of it is without mTLS": Case(
        "exported exporter MTLSDisabled",
        "exported exporter MTLSDisabled",
        NOT_OFFERED,
        lambda world: world.west.append(peer_authentication("off", "DISABLE", namespace="bookinfo", app="ratings")),
    ),
    "the gateway does not see it": Case(
        "exported exporter HiddenFromGateway", "exported exporter HiddenFromGateway", "holds", hide
    ),
    "there is no pod": Case(
        "served exporter NoMeshEndpoints",
        "served exporter NoMeshEndpoints",
        "holds",
        lambda world: world.remove("Pod", "ratings-1"),
    ),
    "the pods have no sidecar": Case(
        "served exporter NoMeshEndpoints", "served exporter NoMeshEndpoints", "holds", replace_pod(sidecar=False)
    ),
    "no pod is ready": Case(
        "served exporter NoMeshEndpoints", "served exporter NoMeshEndpoints", "holds", replace_pod(ready=False)
    ),
    "the gateway has no pod": Case(
        "gateway exporter GatewayPodsMissing",
        "gateway exporter GatewayPodsMissing",
        "holds",
        after=said("west", "MeshFederation", "west", condition("GatewayReady", False, "GatewayPodsMissing", "no pod")),
    ),
    "the gateway is told of another network alone": Case(
        "gateway exporter -",
        "gateway exporter -",
        "holds",
        lambda world: world.west.append(gateway(view="east-network")),
    ),
    "the gateway is told of other networks too": Case(
        "holds", "holds", "holds", lambda world: world.west.append(gateway(view="east-network, west-network"))
    ),
    "the Gateway is not written": Case(
        "gateway exporter Pending",
        "gateway exporter Pending",
        "holds",
        after=lambda east, west: (east, without(west, "Gateway", "federation-ingress-gateway")),
    ),
    "the exporter does not know the importer": Case(
        "offered exporter RemoteMissing",
        "offered exporter RemoteMissing",
        NOT_OFFERED,
        lambda world: world.remove("RemoteMesh", "east"),
    ),
    "the rule is for another remote": Case(
        "offered exporter DeniedByRule",
        "offered exporter DeniedByRule",
        NOT_OFFERED,
        export_rules({"action": "Export", "names": ["ratings"], "remotes": ["north"]}),
    ),
    "the importer's identity is taken for the exporter's": Case(
        "offered either IdentityShadowed",
        "offered either IdentityShadowed",
        "holds",
        after=said("west", "RemoteMesh", "east", condition("IdentityUnique", False, "IdentityShadowed", "shadowed")),
    ),
    "nobody subscribes": Case(
        "offered either NotSubscribed",
        "holds",
        "holds",
        after=said("west", "RemoteMesh", "east", condition("Subscribed", False, "NotSubscribed", "nobody is there")),
    ),
    "the importer describes another network": Case(
        "described importer -", "holds", "holds", described("east", "west", network="elsewhere")
    ),
    "the importer describes another ingress": Case(
        "described importer -", "holds", "holds", described("east", "west", ingressType="openshift-router")
    ),
    "the importer describes another identity": Case(
        "described importer -", "holds", "holds", described("east", "west", identity="spiffe://cluster.local/ns/a/sa/b")
    ),
    "the exporter describes another identity": Case(
        "described exporter -", "holds", "holds", described("west", "east", identity="spiffe://cluster.local/ns/a/sa/b")
    ),
    "the exporter describes another network": Case(
        "described exporter -", "holds", "holds", described("west", "east", network="elsewhere")
    ),
    "the remote is not connected, and never was": Case(
        "connected either Unreachable", "holds", "connected either Unreachable", after=unrecorded(UNREACHABLE)
    ),
    "the remote's certificate is not believed": Case(
        "connected either RootNotTrusted",
        "holds",
        "connected either RootNotTrusted",
        after=unrecorded(UNREACHABLE, condition("Reachable", False, "RootNotTrusted", "no root")),
    ),
    "the remote does not know the importer": Case(
        "connected exporter PermissionDenied",
        "holds",
        "connected exporter PermissionDenied",
        after=unrecorded(condition("Connected", False, "PermissionDenied", "nobody of that identity")),
    ),
    "nothing is imported from it": Case(
        "connected importer PublishOnly",
        "holds",
        "connected importer PublishOnly",
        lambda world: world.one("RemoteMesh", "west", "east")["spec"].pop("import"),
    ),
    "the importer has no RemoteMesh": Case(
        "connected importer RemoteMissing", "holds", "-", lambda world: world.remove("RemoteMesh", "west", "east")
    ),
    "the importer has not recorded it": Case("received importer -", "holds", NOT_OFFERED, after=unrecorded()),
    "the importer's whole offer is on its way": Case(
        "received importer NotSynced",
        "holds",
        "holds",
        after=unrecorded(condition("Synced", False, "NotSynced", "not yet")),
    ),
    "what is offered cannot be used": Case(
        "received exporter InvalidPorts", "holds", "received exporter InvalidPorts", after=recorded(problem="port 0")
    ),
    "what is recorded has other ports": Case(
        "received importer -", "holds", "holds", after=recorded(ports=[{"number": 1, "name": "http"}])
    ),
    "what is recorded has other identities": Case(
        "received importer -", "holds", "holds", after=recorded(identities=["spiffe://cluster.local/ns/a/sa/b"])
    ),
    "an import rule denies it": Case(
        "accepted importer DeniedByRule",
        "holds",
        "accepted importer DeniedByRule",
        importing(rules=[{"action": "Deny"}]),
    ),
    "a local Service has it": Case(
        "accepted importer LocalServiceExists", "holds", "accepted importer LocalServiceExists", with_local_service
    ),
    "a DestinationRule keeps it from clients of one namespace": Case(
        "accepted importer MTLSDisabled",
        "holds",
        "accepted importer MTLSDisabled",
        lambda world: world.east.append(
            manifest(
                "DestinationRule",
                "theirs",
                {"host": RATINGS, "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
                namespace="bookinfo",
            )
        ),
    ),
    "the limit is reached": Case(
        "accepted importer LimitExceeded", "holds", "accepted importer LimitExceeded", importing(limit=0)
    ),
    "its objects cannot be written": Case(
        "written importer WriteFailed",
        "holds",
        "written importer WriteFailed",
        after=said(
            "east", "FederatedService", RECORD, condition("Applied", False, "WriteFailed", "the webhook says no")
        ),
    ),
    "its object is gone": Case(
        "written importer Pending",
        "holds",
        "written importer Pending",
        after=lambda east, west: (without(east, "ServiceEntry", ENTRY), west),
    ),
    "istiod gives others an address and it none": Case(
        "resolved importer -", "holds", "resolved importer -", after=unresolved
    ),
    "the gateway is not reached": Case(
        "reached either GatewayNotReached",
        "holds",
        "reached either GatewayNotReached",
        after=said("east", "FederatedService", RECORD, condition("Reachable", False, "GatewayNotReached", "refused")),
    ),
    "the gateway does not pass it on": Case(
        "reached exporter NotPassedOn",
        "holds",
        "reached exporter NotPassedOn",
        after=said("east", "FederatedService", RECORD, condition("Reachable", False, "NotPassedOn", "closed")),
    ),
    "the root is not trusted": Case(
        "reached either RootNotTrusted",
        "holds",
        "reached either RootNotTrusted",
        after=said("east", "FederatedService", RECORD, condition("Reachable", False, "RootNotTrusted", "no root")),
    ),
    "the importer states a trust domain that its istiod has not": Case(
        "identity importer TrustDomainMismatch",
        "holds",
        "identity importer TrustDomainMismatch",
        after=said("east", "MeshFederation", "east", condition("Ready", False, "TrustDomainMismatch", "not istiod's")),
    ),
}


@pytest.mark.parametrize("case", BREAKS.values(), ids=BREAKS)
def test_the_first_broken_link_is_named_with_whose_side_it_is(case: Case) -> None:
    world = World()
    case.before(world)
    east, west = case.after(*world.snapshots())
    assert (verdict(east, west), verdict(west), verdict(east)) == (case.both, case.west, case.east)


def sent_elsewhere(reason: str, **spec: Any) -> Sides:
    """East's RemoteMesh leads elsewhere, so east is not connected either."""
    world = World()
    described("east", "west", **spec)(world)
    east, west = world.snapshots()
    broken = condition("Reachable", False, reason, "closed")
    east = saying(saying(east, "FederatedService", RECORD, broken), "RemoteMesh", "west", broken, UNREACHABLE)
    return east, saying(west, "RemoteMesh", "east", condition("Subscribed", False, "NotSubscribed", "nobody"))


@pytest.mark.parametrize(
    ("reason", "spec", "leads"),
    [
        ("GatewayNotReached", {"addresses": ["192.0.2.99"]}, "192.0.2.99:15443"),
        ("GatewayNotReached", {"addresses": ["192.0.2.10", "192.0.2.99"]}, "192.0.2.99:15443"),
        ("NotPassedOn", {"port": 15444}, "192.0.2.10:15444"),
    ],
)
def test_whoever_sees_both_sees_that_a_way_leads_elsewhere(reason: str, spec: dict[str, Any], leads: str) -> None:
    east, west = sent_elsewhere(reason, **spec)
    assert verdict(east) == f"reached either {reason}"
    assert verdict(west) == "holds"
    assert verdict(east, west) == f"reached importer {reason}"
    found = chain(east, west)
    assert found is not None
    assert found.broken is not None
    assert f"lead to {leads}, and west's gateway is at 192.0.2.10:15443" in found.broken.remedy


@pytest.mark.parametrize("spec", [{}, {"addresses": ["gateway.west.example"]}], ids=["there", "a name"])
def test_where_a_way_may_lead_to_the_gateway_it_stays_open_whose_it_is(spec: dict[str, Any]) -> None:
    for reason in ("GatewayNotReached", "NotPassedOn"):
        assert verdict(*sent_elsewhere(reason, **spec)) == f"reached either {reason}"


def link(found: Chain | None, name: LinkName) -> tuple[str, str]:
    assert found is not None
    (one,) = [one for one in found.links if one.name is name]
    return str(one.state), one.message


def test_what_was_recorded_stays_while_the_remote_is_away_and_that_is_not_a_break() -> None:
    east, _ = said("east", "RemoteMesh", "west", UNREACHABLE)(*World().snapshots())
    assert verdict(east) == "holds"
    assert link(chain(east), LinkName.CONNECTED) == ("warning", "192.0.2.10:15443: connection refused")


def test_a_withdrawal_that_is_held_is_broken_at_the_exporter_and_still_recorded() -> None:
    sides = gone_in_west(label_off)(*World().snapshots())
    found = chain(*sides)
    assert verdict(*sides) == "selected exporter NotSelected"
    assert link(found, LinkName.RECEIVED) == (
        "broken",
        "it is still recorded, and west does not offer it to east any more",
    )


def test_the_rule_is_named_that_exports_and_that_imports() -> None:
    world = World()
    export_rules({"action": "Deny", "names": ["x"]}, {"action": "Export", "names": ["ratings"]})(world)
    importing(rules=[{"action": "Import", "hosts": ["ratings.*"]}])(world)
    found = chain(*world.snapshots())
    assert link(found, LinkName.SELECTED) == ("ok", "by export rule 2")
    assert link(found, LinkName.ACCEPTED) == ("ok", f"imported as {RATINGS}, by import rule 1")


def test_what_cannot_be_read_is_unknown_and_not_broken() -> None:
    east, west = World().snapshots()
    for unread, kinds in ((west, ("Pod", "Gateway", "AuthorizationPolicy")), (east, ("ServiceEntry",))):
        kept = tuple(one for one in unread.objects if one["kind"] not in kinds)
        why = {kind: f"you may not list {kind}" for kind in kinds}
        blind = msgspec.structs.replace(unread, objects=kept, unread=why)
        found = chain(blind, east if unread is west else west)
        assert found is not None
        assert (found.broken, {one.name for one in found.links if one.state is State.UNKNOWN}) == (
            None,
            {LinkName.SERVED, LinkName.GATEWAY, LinkName.POLICY} if unread is west else {LinkName.RESOLVED},
        )


def policy(name: str, namespace: str = "bookinfo", **spec: Any) -> dict[str, Any]:
    return manifest("AuthorizationPolicy", name, spec, namespace=namespace)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (policy("all"), "bookinfo/all (ALLOW)"),
        (policy("app", selector={"matchLabels": {"app": "ratings"}}, action="DENY"), "bookinfo/app (DENY)"),
        (policy("root", "istio-system"), "istio-system/root (ALLOW)"),
        (policy("other", selector={"matchLabels": {"app": "other"}}), ""),
        (policy("elsewhere", "shop"), ""),
        (policy("waypoint", targetRefs=[{"kind": "Service", "name": "ratings"}]), ""),
    ],
    ids=lambda value: value["metadata"]["name"] if isinstance(value, dict) else "",
)
def test_policies_that_select_the_workload_are_named_as_what_may_still_say_no(
    given: dict[str, Any], named: str
) -> None:
    world = World()
    world.west.append(given)
    state, message = link(chain(*world.snapshots()), LinkName.POLICY)
    assert (state, named in message) == ("unknown" if named else "ok", True)


def test_the_root_namespace_is_the_one_that_istio_is_configured_to() -> None:
    world = World()
    world.west += [policy("all", "istio-root"), config_map("istio", namespace=SYSTEM, mesh="rootNamespace: istio-root")]
    assert "istio-root/all (ALLOW)" in link(chain(*world.snapshots()), LinkName.POLICY)[1]


def test_an_alias_is_followed_from_either_end_by_whatever_name() -> None:
    world = World()
    export_rules({"action": "Export", "names": ["ratings"], "as": {"name": "scores"}})(world)
    scores = host("scores.bookinfo")
    importing(rules=[{"action": "Import", "hosts": [scores], "as": {"host": "stars.west.example"}}])(world)
    east, west = world.snapshots()
    for name in ("bookinfo/ratings", "ratings", "scores.bookinfo", "stars.west.example", "stars"):
        found = chain(east, west, name=name)
        assert found is not None, name
        assert (found.host, found.imported_as, found.broken) == (
            scores,
            "stars.west.example",
            None,
        )


def test_a_remote_that_is_called_otherwise_here_is_found_by_its_network_and_has_to_be_renamed() -> None:
    world = World()
    world.one("RemoteMesh", "west", "east")["metadata"]["name"] = "westen"
    east, west = world.snapshots()
    found = chain(east, west)
    assert found is not None
    assert (found.exporter, found.importer) == ("west", "east")
    assert found.broken is not None
    assert (found.broken.name, found.broken.message, found.broken.mesh) == (
        LinkName.DESCRIBED,
        "RemoteMesh westen of east is mesh west, and has to be named so",
        "east",
    )


def test_services_that_nobody_asked_to_export_are_left_out_where_another_has_the_name() -> None:
    world = World()
    importing(merge=True)(world)
    with_local_service(world)
    east, west = world.snapshots()
    assert [(one.exporter, one.broken) for one in explained("ratings", [seen(east), seen(west)])] == [("west", None)]
    only = explained("ratings", [seen(east)], remote="west")
    assert [(one.exporter, one.broken.name if one.broken else None) for one in only] == [
        ("east", LinkName.SELECTED),
        ("west", None),
    ]


def test_a_host_that_joins_a_local_service_resolves_by_that() -> None:
    world = World()
    importing(merge=True)(world)
    with_local_service(world)
    state, message = link(chain(*world.snapshots()), LinkName.RESOLVED)
    assert (state, message) == ("ok", "as Service bookinfo/ratings of this mesh, which has the host too")


def test_where_istiod_gives_nobody_an_address_that_is_unknown() -> None:
    east, west = World().snapshots()
    objects = tuple({**one, "status": {}} if one["kind"] == "ServiceEntry" else one for one in east.objects)
    found = chain(msgspec.structs.replace(east, objects=objects), west)
    assert link(found, LinkName.RESOLVED)[0] == "unknown"


def test_a_name_that_nobody_has_is_answered_by_the_closest_and_by_how_the_remotes_stand() -> None:
    world = World()
    world.east.append(remote_mesh("north", import_=None, network="north-network"))
    world.east.append(service_entry("theirs", "vm.example"))
    east, west = world.seen()
    assert explained("raitngs", [east, west]) == ()
    answer = missing("bookinfo/raitngs", [east])
    assert answer.closest == (RATINGS,)
    assert [(one.remote, one.message) for one in answer.remotes] == [
        ("north", "nothing is imported from it: its RemoteMesh has no `import`"),
        ("west", "its list is complete; of what it offers (1) none is this"),
    ]
