"""What a cluster would hold with the objects of files laid over what it holds."""

from __future__ import annotations

from datetime import UTC, datetime

from meshfed.kube import Manifest
from meshfed.views.overlay import laid_over
from meshfed.views.snapshot import Snapshot
from tests.builders import SYSTEM, manifest, mesh_federation, namespace, remote_mesh, service

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FROM_THE_SERVER = {"creationTimestamp": "2025-01-01T00:00:00Z", "uid": "u", "generation": 4, "resourceVersion": "9"}


def held(one: Manifest) -> Manifest:
    return one | {"metadata": one["metadata"] | FROM_THE_SERVER, "status": {"seen": True}}


def over(holds: list[Manifest], *files: Manifest, prune: bool = False) -> dict[str, tuple[str, Manifest]]:
    found = laid_over(Snapshot("east", SYSTEM, NOW, tuple(holds)), [("file", one) for one in files], prune=prune)
    return {f"{one['kind']} {one['metadata']['name']}": (source, one) for source, one in found}


def test_an_object_takes_the_place_of_its_like_and_stays_what_the_server_made_it() -> None:
    found = over([held(service("a")), held(service("b"))], service("a", labels={"x": "y"}) | {"status": {}})
    assert found["Service b"] == ("east", held(service("b")))
    assert found["Service a"] == ("file", held(service("a", labels={"x": "y"})))
    assert len(found) == 2


def test_a_new_object_is_as_old_as_the_look_at_the_cluster() -> None:
    """Else a second MeshFederation would count as the first."""
    source, one = over([], mesh_federation("other"))["MeshFederation other"]
    assert (source, one["metadata"]["creationTimestamp"]) == ("file", "2026-01-01T12:00:00Z")


def test_who_has_no_namespace_is_where_it_would_be_applied() -> None:
    holds = [held(remote_mesh("west")), held(service("a")), held(namespace("x"))]
    files = [remote_mesh("west", network="n"), service("a"), namespace("x", env="prod")]
    for one in files:
        one["metadata"].pop("namespace", None)
    found = over(holds, *files)
    assert {name: source for name, (source, _) in found.items()} == {
        "RemoteMesh west": "file",
        "Service a": "file",
        "Namespace x": "file",
    }
    assert found["RemoteMesh west"][1]["metadata"]["namespace"] == SYSTEM


def test_only_what_is_pruned_goes_and_only_where_that_is_asked_for() -> None:
    holds = [held(one) for one in (remote_mesh("west"), remote_mesh("north"), service("a"), mesh_federation("east"))]
    files = [remote_mesh("west"), mesh_federation("east")]
    assert sorted(over(holds, *files)) == ["MeshFederation east", "RemoteMesh north", "RemoteMesh west", "Service a"]
    assert sorted(over(holds, *files, prune=True)) == ["MeshFederation east", "RemoteMesh west", "Service a"]


def test_of_another_group_it_is_another_kind() -> None:
    theirs = manifest("ServiceEntry", "a", {}) | {"apiVersion": "example.org/v1", "kind": "Service"}
    found = laid_over(Snapshot("east", SYSTEM, NOW, (held(service("a")),)), [("file", theirs)])
    assert len(found) == 2


def test_what_is_no_object_is_left_to_who_reads_it() -> None:
    assert laid_over(Snapshot("east", SYSTEM, NOW), [("file", {"metadata": 5})])[0][0] == "file"
