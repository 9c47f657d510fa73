"""What may be deleted: each object says what it follows from, and stays for as long as that is unknown."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from meshfed.kube import Manifest, ObjectKey
from meshfed.plan import ExportKey, GatewayKey, ImportKey, Key, MeshKey, OfferKey, Planner, Ref, RemoteKey, Settings
from meshfed.plan.deletion_rule import Stay, stay
from meshfed.plan.keys import origin, read_origin
from tests.builders import federated_service, host, mesh_federation, namespace, pod, remote_mesh, service
from tests.plan.histories import ref_of
from tests.world import World

KEYS: list[Key] = [
    ExportKey("default", "ratings"),
    ImportKey("ratings.default.svc.cluster.local"),
    MeshKey(),
    RemoteKey("west"),
    GatewayKey(12),
    OfferKey("ratings.default.svc.cluster.local.west"),
]
BY_LABEL = {"namespaceSelectors": {"matchLabels": {"env": "prod"}}}
ROUTER = {"type": "openshift-router", "gateway": {"selector": {"app": "gateway"}}}
MESH = mesh_federation(export=BY_LABEL, ingress=ROUTER)
OBJECTS: list[Manifest] = [
    namespace("default", env="prod"),
    namespace("books", env="prod"),
    service("ratings"),
    service("reviews.books"),
    service("pay.books", exported=True),
    pod("ratings", account="ratings"),
    pod("pay.books", account="pay"),
    remote_mesh("west", import_={"merge": True}),
    remote_mesh("north", import_={"merge": True}, addresses=["192.0.2.20"]),
    federated_service("west", "stock"),
    federated_service("north", "stock"),
    federated_service("north", "details"),
    federated_service("west", "reviews.books"),
    federated_service("north", "pay.books"),
]
FOUND = {0: [f"{name}.svc.cluster.local" for name in ("ratings.default", "reviews.books", "pay.books")]}


class Cluster:
    """A planner beside what exists: what a process finds that an earlier one has written."""

    def __init__(self, *objects: Manifest, exists: dict[ObjectKey, tuple[str, Manifest]] | None = None) -> None:
        self.world = World(*objects)
        self.planner = self.world.planner
        for index, hosts in FOUND.items():
            self.planner.gateway_observed(index, hosts)
        self.exists = exists or {}
        self.starting = ""

    def wanted(self) -> dict[ObjectKey, tuple[str, Manifest]]:
        """What should exist, each with what it says that it follows from; what is unknown wants nothing new."""
        while turn := self.planner.take_dirty():
            for key in turn.keys:
                outputs = self.planner.reconcile(key)
                if outputs is not None:
                    self.world.outputs[key] = outputs
        return {
            ObjectKey.of(manifest): (origin(key), manifest)
            for key, outputs in self.world.outputs.items()
            for manifest in outputs.objects
        }

    def deleted(self) -> set[ObjectKey]:
        """What is deleted of what exists."""
        wanted = self.wanted()
        unwanted = {key: source for key, (source, _) in self.exists.items() if key not in wanted}
        return {
            key
            for key, source in unwanted.items()
            if not stay(source, self.planner, everything=self.starting, failing={})
        }

    def changed(self) -> set[ObjectKey]:
        """What is written otherwise than it is."""
        wanted = self.wanted()
        return {key for key, (_, manifest) in self.exists.items() if key in wanted and wanted[key][1] != manifest}


@pytest.fixture(scope="module")
def exists() -> dict[ObjectKey, tuple[str, Manifest]]:
    """What there is of `OBJECTS`."""
    found = Cluster(MESH, *OBJECTS).wanted()
    kinds = {key.kind for key in found}
    assert kinds >= {"ServiceEntry", "WorkloadEntry", "Route", "EnvoyFilter", "Gateway", "AuthorizationPolicy"}
    return found


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_an_object_says_what_it_follows_from(key: Key) -> None:
    assert read_origin(origin(key)) == key


@pytest.mark.parametrize(
    "text", ["", "import", "import a/b", "export a", "gateway x", "gateway 1/2", "mesh x", "of the future"]
)
def test_what_says_nothing_to_us_is_of_nobody_known(text: str) -> None:
    key = read_origin(text)
    assert key is None or key == ImportKey("")


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: "/".join(filter(None, ref_of(one))))
def test_an_object_that_cannot_be_understood_takes_nothing_away(
    one: Manifest, exists: dict[ObjectKey, tuple[str, Manifest]]
) -> None:
    without = [other for other in OBJECTS if other is not one]
    anew = Cluster(MESH, *without, exists=exists)
    goes, written = anew.deleted(), anew.changed()
    now = Cluster(MESH, *without, exists=exists)
    hosts = [one["spec"]["host"]] if one["kind"] == "FederatedService" else []
    now.planner.unknown(ref_of(one), "it cannot be understood", hosts)
    assert now.deleted() == set()
    assert now.changed() <= only_added_to(exists, now.wanted())

    now.planner.known(ref_of(one))
    assert (now.deleted(), now.changed()) == (goes, written), "it was gone"
    now.planner.unknown(ref_of(one), "it cannot be understood", hosts)
    now.world.put(one)
    now.planner.known(ref_of(one))
    assert (now.deleted(), now.changed()) == (set(), set()), "it was repaired"


def only_added_to(
    exists: dict[ObjectKey, tuple[str, Manifest]], wanted: dict[ObjectKey, tuple[str, Manifest]]
) -> set[ObjectKey]:
    """Gateways that list all that they listed."""
    return {
        key
        for key, (_, manifest) in exists.items()
        if key.kind == "Gateway" and key in wanted and listed(manifest) <= listed(wanted[key][1])
    }


def listed(gateway: Manifest) -> set[str]:
    return {host for server in gateway["spec"]["servers"] for host in server["hosts"]}


def test_of_a_service_that_cannot_be_understood_another_does_not_suffer() -> None:
    found = Cluster(MESH, *OBJECTS)
    found.exists = found.wanted()
    found.planner.unknown(("Service", "books", "pay"), "why")
    found.world.remove(*(one for one in OBJECTS if ref_of(one) == ("Service", "default", "ratings")))
    assert {key.kind for key in found.deleted()} == {"Route", "EnvoyFilter"}
    assert all("ratings.default" in key.name for key in found.deleted())


@pytest.mark.parametrize("kind", ["RemoteMesh", "FederatedService"])
def test_what_an_earlier_version_wrote_waits_until_nothing_is_unknown(
    kind: str, exists: dict[ObjectKey, tuple[str, Manifest]]
) -> None:
    unmarked = {key: ("", manifest) for key, (_, manifest) in exists.items()}
    gone = ("RemoteMesh", "istio-system", "west")
    found = Cluster(MESH, *(one for one in OBJECTS if ref_of(one) != gone), exists=unmarked)
    found.planner.unknown((kind, "istio-system", "other"), "why", ["other.default.svc.cluster.local"])
    assert found.deleted() == set()
    found.planner.known((kind, "istio-system", "other"))
    assert found.deleted()


def test_while_everything_is_unknown_all_stays(exists: dict[ObjectKey, tuple[str, Manifest]]) -> None:
    found = Cluster(exists=exists)
    found.starting = "a watch has not listed yet"
    assert found.deleted() == set()
    found.starting = ""
    assert found.deleted() == exists.keys()


def test_a_key_that_our_code_fails_on_keeps_what_is_its_and_no_other() -> None:
    failing: dict[Key, str] = {ImportKey(host("a")): "why"}
    planner = Planner(Settings())

    def stays(key: Key | None) -> str:
        text = origin(key) if key is not None else ""
        found = stay(text, planner, everything="", failing=failing)
        return found.why if found is not None else ""

    assert [stays(ImportKey(host("a"))), stays(ImportKey(host("b"))), stays(None)] == ["why", "", "why"]


def test_a_key_that_is_not_worked_out_yet_keeps_what_is_its() -> None:
    world = World(mesh_federation(), remote_mesh("west"), federated_service("west", "a"))
    world.settle()
    world.planner.unknown(("FederatedService", "istio-system", "other"), "why", [host("a")])
    world.planner.take_dirty()
    text = origin(ImportKey(host("a")))
    assert stay(text, world.planner, everything="", failing={}) == Stay("why")
    world.planner.known(("FederatedService", "istio-system", "other"))
    waits = Stay(f"the import of {host('a')} is being worked out", passes=True)
    world.planner._graph.work(100)
    assert stay(text, world.planner, everything="", failing={}) == waits, "no key is marked yet"
    world.planner._tell()
    world.settle()
    assert stay(text, world.planner, everything="", failing={}) is None
    world.planner.look_again(ImportKey(host("a")), "")
    assert stay(text, world.planner, everything="", failing={}) == waits


def raising(monkeypatch: pytest.MonkeyPatch, place: str, poison: str) -> Callable[[], None]:
    """Have the function at ``place`` raise for whatever speaks of ``poison``; returns what ends that."""
    path, _, name = place.rpartition(".")
    original = pytest.importorskip(path).__dict__[name]

    def wrapper(*given: Any, **named: Any) -> Any:
        if poison in repr((given, named)):
            raise RuntimeError("boom")
        return original(*given, **named)

    monkeypatch.setattr(place, wrapper)
    return lambda: monkeypatch.setattr(place, original)


@pytest.mark.parametrize(
    ("place", "poison"),
    [
        ("meshfed.plan.imports.judge", "stock"),
        ("meshfed.plan.imports.checked", "stock"),
        ("meshfed.plan.imports.merge", "stock"),
        ("meshfed.plan.imports.standing", "stock"),
        ("meshfed.plan.exports.decide", "ratings"),
    ],
)
def test_a_function_that_raises_takes_nothing_away(
    place: str, poison: str, monkeypatch: pytest.MonkeyPatch, exists: dict[ObjectKey, tuple[str, Manifest]]
) -> None:
    over = raising(monkeypatch, place, poison)
    failed: list[Any] = []
    found = Cluster(exists=exists)
    found.world.planner = found.planner = Planner(Settings(), on_failed=lambda subject, _: failed.append(subject))
    found.planner.gateway_observed(0, FOUND[0])
    found.world.put(MESH, *OBJECTS)
    assert found.deleted() == set()
    assert found.changed() == set()
    assert failed
    over()
    for subject in tuple(failed):
        found.planner.again(subject)
    assert (found.deleted(), found.changed()) == (set(), set())
    assert found.wanted().keys() == exists.keys()


def test_pods_of_two_that_cannot_be_understood_are_missed_until_both_are_known() -> None:
    found = Cluster(MESH, *(one for one in OBJECTS if one["kind"] != "Pod"))
    refs: list[Ref] = [("Pod", "books", "pay"), ("WorkloadEntry", "books", "vm")]
    for ref in refs:
        found.planner.unknown(ref, f"{ref[0]} is odd")
    for ref, left in itertools.zip_longest(refs, ["Pod is odd"]):
        assert found.wanted()
        assert found.planner.why_unknown(ExportKey("books", "pay"))
        assert not found.planner.why_unknown(ExportKey("default", "ratings"))
        found.planner.known(ref)
        assert left is None or found.planner.why_unknown(ExportKey("books", "pay"))
    assert found.wanted()
    assert not found.planner.why_unknown(ExportKey("books", "pay"))


def test_without_a_mesh_nothing_is_unknown_and_nothing_wanted(exists: dict[ObjectKey, tuple[str, Manifest]]) -> None:
    found = Cluster(MESH, *OBJECTS, exists=exists)
    assert found.wanted().keys() == exists.keys()
    found.planner.unknown(("RemoteMesh", "istio-system", "other"), "why")
    found.planner.unknown(("FederatedService", "istio-system", "other"), "why", [host("stock"), host("other")])
    found.planner.unknown(("Service", "books", "other"), "why")
    assert found.wanted().keys() == exists.keys()
    found.planner.learned()
    found.world.remove(MESH)
    assert not found.wanted()
    assert found.deleted() == exists.keys()
    assert found.planner.learned()
