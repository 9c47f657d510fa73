"""``meshfed explain``: what is printed, how it ends, and what goes from owner to owner."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from meshfed.api.crds import all_crds
from meshfed.cli.app import run
from meshfed.cli.clusters import read
from meshfed.cli.kinds import LEASES, OURS, SURROUNDINGS
from meshfed.kube import Client, load_kubeconfig
from meshfed.views.snapshot import Unreached
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from tests.builders import RESOURCES, SYSTEM, mesh_federation, namespace, remote_mesh
from tests.cli.fakes import condition, holding, lease
from tests.views.federated import ENTRY, RATINGS, RECORD, World, saying
from tests.views.test_access_log import as_text

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], None]:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate


BOTH = """\
ratings.bookinfo.svc.cluster.local from west to east
Broken at `reached`, to be mended on the side of west (exporter): NotPassedOn
  192.0.2.10:15443: the gateway closed the connection when it had seen the SNI

  west (exporter)
    ok       service    Service bookinfo/ratings, port 9080 http
    ok       selected   by `export.serviceSelectors`
    ok       exported   as ratings.bookinfo.svc.cluster.local, port 9080/HTTP,
                        served by
                        spiffe://cluster.local/ns/bookinfo/sa/bookinfo-ratings
    ok       served     1 of 1 with a sidecar is ready behind it
    ok       gateway    Gateway istio-system/federation-ingress-gateway passes
                        it on; the gateway's objects are in place
    ok       offered    RemoteMesh east may see it; whether it subscribes,
                        nobody says here
    ok       described  the RemoteMeshes say what both meshes say of themselves

  east (importer)
    ok       connected  taken to be connected, since it is given what the remote
                        offers
    ok       received   FederatedService ratings.bookinfo.svc.cluster.local.west
    ok       accepted   imported as ratings.bookinfo.svc.cluster.local
    ok       written    ServiceEntry
                        istio-system/import.ratings.bookinfo.svc.cluster.local
    ok       resolved   as 240.240.0.1, where the client's sidecar captures DNS
    broken   reached    NotPassedOn: 192.0.2.10:15443: the gateway closed the
                        connection when it had seen the SNI
    ok       identity   spiffe://cluster.local/ns/bookinfo/sa/bookinfo-ratings
                        may answer; callers are
                        cluster.local/ns/<namespace>/sa/<account> to it

  west (exporter)
    ok       policy     no AuthorizationPolicy selects its pods
"""
CLOSED = condition(
    "Reachable",
    False,
    "NotPassedOn",
    "192.0.2.10:15443: the gateway closed the connection when it had seen the SNI",
)


def test_both_sides(monkeypatch: Patch, capsys: Capture) -> None:
    east, west = World().snapshots()
    holding(monkeypatch, saying(east, "FederatedService", RECORD, CLOSED), west)
    assert run(["explain", "ratings.bookinfo", "--context", "east", "--context", "west"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (BOTH, "")
    assert max(map(len, out.splitlines())) <= 80


def test_one_side(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, World().snapshots()[1])
    assert run(["explain", "bookinfo/ratings"]) == 0
    assert (
        capsys.readouterr().out
        == """\
ratings.bookinfo.svc.cluster.local from west to east
Nothing is broken, as far as can be seen
  Unseen: described, connected, received, accepted, written, resolved, reached,
  identity

  west (exporter)
    ok       service    Service bookinfo/ratings, port 9080 http
    ok       selected   by `export.serviceSelectors`
    ok       exported   as ratings.bookinfo.svc.cluster.local, port 9080/HTTP,
                        served by
                        spiffe://cluster.local/ns/bookinfo/sa/bookinfo-ratings
    ok       served     1 of 1 with a sidecar is ready behind it
    ok       gateway    Gateway istio-system/federation-ingress-gateway passes
                        it on; the gateway's objects are in place
    ok       offered    RemoteMesh east may see it; whether it subscribes,
                        nobody says here
    unseen   described  what east says of itself is not seen from here

  east (importer)
    unseen   connected, received, accepted, written, resolved, reached, identity
             east's owner sees it: `meshfed explain
             ratings.bookinfo.svc.cluster.local --remote west --export FILE`
             there

  west (exporter)
    ok       policy     no AuthorizationPolicy selects its pods
"""
    )


def test_a_name_that_nobody_has(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, World().snapshots()[0])
    assert run(["explain", "rating.bookinfo"]) == 1
    assert (
        capsys.readouterr().out.partition("\n\n  west (exporter)")[0]
        == """\
rating.bookinfo: no Service of east has that name, and nothing is recorded that
a remote mesh offers under it

  Closest
    ratings.bookinfo.svc.cluster.local

rating.bookinfo.svc.cluster.local from west to east
Broken at `received`, to be mended on the side of west (exporter)
  not offered to this mesh by west (its list is complete, as of 5s ago); no
  Event tells that it was withdrawn, and Events are kept for an hour
  To do: at west: `meshfed explain` with this host says there by which rule it
  is left out; it has to be selected by `export` of the MeshFederation, and
  `remotes` of a rule must not leave this mesh out"""
    )


def test_a_name_that_is_no_whole_host(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, World().snapshots()[0])
    assert run(["explain", "rating"]) == 1
    assert (
        capsys.readouterr().out
        == """\
rating: no Service of east has that name, and nothing is recorded that a remote
mesh offers under it

  Closest
    ratings.bookinfo.svc.cluster.local

  What remote meshes offer
    west to east: its list is complete; of what it offers (1) none is this

  To do: at the mesh that has the Service: `meshfed explain` with its
  namespace/name says there what keeps it; it has to be selected by `export` of
  the MeshFederation, and `remotes` of a rule must not leave this mesh out
"""
    )


def test_an_object_that_is_not_there(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, World().snapshots()[0])
    assert run(["explain", "ServiceEntry", "istio-system/import.rating.bookinfo.svc.cluster.local"]) == 1
    assert (
        capsys.readouterr().out
        == """\
ServiceEntry istio-system/import.rating.bookinfo.svc.cluster.local: there is no
ServiceEntry istio-system/import.rating.bookinfo.svc.cluster.local in east; of
that kind there are 2

  Closest
    ServiceEntry istio-system/import.ratings.bookinfo.svc.cluster.local

  To do: ask for the host or the Service itself, whose chain says which of its
  objects are in place
"""
    )


def test_a_service_is_asked_for_as_any_object(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, World().snapshots()[1])
    for words in (["Service", "bookinfo/ratings"], ["svc/ratings"]):
        assert run(["explain", *words]) == 0
        assert capsys.readouterr().out.startswith("ratings.bookinfo.svc.cluster.local from west to east\n")


def test_an_object_and_what_it_follows_from(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, *World().snapshots())
    for words in (["ServiceEntry", f"istio-system/{ENTRY}"], [f"se/{ENTRY}"]):
        assert run(["explain", *words]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{RATINGS} from west to east\n")
        assert out.endswith(
            """
Objects, and what each follows from

  east
    ServiceEntry istio-system/import.ratings.bookinfo.svc.cluster.local
      import ratings.bookinfo.svc.cluster.local
        FederatedService istio-system/ratings.bookinfo.svc.cluster.local.west
        RemoteMesh istio-system/west
        MeshFederation istio-system/east
"""
        )
    assert run(["explain", "se/nobody"]) == 1


def test_a_tree_of_all_that_a_chain_leads_to(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, *World().snapshots())
    assert run(["explain", "ratings", "--tree", "-o", "json"]) == 0
    objects = json.loads(capsys.readouterr().out)["objects"]
    assert [(one["mesh"], one["object"], one["key"]) for one in objects] == [
        ("east", f"FederatedService istio-system/{RECORD}", f"offer {RECORD}"),
        ("east", f"ServiceEntry istio-system/{ENTRY}", f"import {RATINGS}"),
        ("west", "Gateway istio-system/federation-ingress-gateway", "gateway 0"),
    ]


def test_documents_are_as_their_schema_says(
    monkeypatch: Patch, capsys: Capture, validate: Callable[[Any], None]
) -> None:
    east, west = World().snapshots()
    broken = saying(east, "FederatedService", RECORD, CLOSED)
    line = as_text(response_flags="UH")
    for snapshots, arguments in (
        ([broken, west], ["ratings", "--tree"]),
        ([east], ["nothing.like.this"]),
        ([east, Unreached("west", "connection refused")], ["ratings", "--log", line]),
    ):
        holding(monkeypatch, *snapshots)
        run(["explain", *arguments, "-o", "json"])
        as_json = json.loads(capsys.readouterr().out)
        validate(as_json)
        run(["explain", *arguments, "-o", "yaml"])
        assert yaml.safe_load(capsys.readouterr().out) == as_json
    holding(monkeypatch, broken, west)
    run(["explain", "ratings", "-o", "json"])
    (chain,) = json.loads(capsys.readouterr().out)["chains"]
    assert (chain["broken"]["name"], chain["broken"]["whose"], chain["broken"]["mesh"]) == (
        "reached",
        "exporter",
        "east",
    )


def test_one_owner_writes_a_file_and_the_other_merges_it(
    monkeypatch: Patch, capsys: Capture, tmp_path: Path, validate: Callable[[Any], None]
) -> None:
    world = World()
    world.remove("Pod", "ratings-1")
    east, west = world.snapshots()
    file = tmp_path / "west.json"
    holding(monkeypatch, west)
    assert run(["explain", "ratings.bookinfo", "--export", str(file)]) == 0
    assert capsys.readouterr() == ("", f"{file}: the part of west, for the owner of east\n")
    validate(json.loads(file.read_text()))
    holding(monkeypatch, east)
    assert run(["explain", "ratings.bookinfo", "--merge", str(file)]) == 1
    out, err = capsys.readouterr()
    assert err == "what west says is from a file, of 2026-01-01T12:00:00Z\n"
    assert out.splitlines()[1:4] == [
        "Broken at `served`, to be mended on the side of west (exporter): NoMeshEndpoints",
        "  No endpoint of the exported Service has a sidecar, so the gateway cannot reach",
        "  any; it is exported all the same.",
    ]
    assert run(["explain", "details", "--merge", str(file)]) == 2
    assert f"it is of {RATINGS}, not of details" in capsys.readouterr().err.replace(
        "what the other owner wrote is", "it is"
    )


def test_a_file_for_one_of_several_remotes(monkeypatch: Patch, capsys: Capture) -> None:
    world = World()
    world.west.append(remote_mesh("north", network="north-network"))
    holding(monkeypatch, world.snapshots()[1])
    assert run(["explain", "ratings", "--export", "-"]) == 2
    assert "choose one with --remote (east, north)" in capsys.readouterr().err
    assert run(["explain", "ratings", "--export", "-", "--remote", "east"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert [part["remote"]["name"] for part in parts] == ["east"]


def test_a_line_of_an_access_log_needs_no_cluster(monkeypatch: Patch, capsys: Capture) -> None:
    line = as_text(
        response_flags="UF,URX", upstream_transport_failure_reason="TLS_error:|Connection_reset_by_peer:TLS_error_end"
    )
    for arguments in (["--log", line], ["--log", "-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))
        assert run(["explain", *arguments]) == 1
        assert (
            capsys.readouterr().out
            == """\
A line of the caller's sidecar, of a call to ratings.bookinfo.svc.cluster.local
  response 503, flags UF,URX, cluster
  outbound|9080||ratings.bookinfo.svc.cluster.local
It failed
  the gateway knows nobody for it: it does not pass it on; URX: Envoy tried as
  often as it may; the flag or answer beside it says what went wrong each time
  Link: `gateway`, the exporter's side
  See docs/troubleshooting.md#the-gateway-does-not-pass-it-on
"""
        )
    assert run(["explain", "--log", as_text(response_code=200)]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which host or object to explain"),
        (["--log", "nonsense"], "--log: it is in neither of Istio's own formats"),
        (["--log", as_text(), "--tree"], "take a host"),
        (["ratings", "bookinfo"], "one host at a time"),
        (["ratings", "--merge", "/nonexistent.json"], "--merge /nonexistent.json: No such file"),
        (["ratings", "--merge", "/dev/null"], "--merge /dev/null"),
        (["ratings", "--export", "/proc/nonexistent/file"], "--export /proc/nonexistent/file: No such file"),
        (["ratings", "--export", "-", "--merge", "/dev/null"], "--merge /dev/null"),
    ],
)
def test_bad_usage(arguments: list[str], words: str, monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, World().snapshots()[1])
    assert run(["explain", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, words in err, err.count("\n")) == ("", True, 1)


def test_what_cannot_be_seen_is_said_and_a_cluster_that_does_not_answer_is_the_exit_code(
    monkeypatch: Patch, capsys: Capture
) -> None:
    world = World()
    world.east.append(lease("controller-0", renewed="2026-01-01T11:00:00Z"))
    holding(monkeypatch, world.snapshots()[0], Unreached("west", "connection refused"))
    assert run(["explain", "ratings"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith(f"{RATINGS} from west to east\n")
    assert err.splitlines() == [
        "west: not reached: connection refused",
        "east: no controller is at work in east: its statuses may be old",
    ]
    world.east = [one for one in world.east if one["kind"] != "Lease"]
    holding(monkeypatch, world.snapshots()[0])
    assert run(["explain", "ratings"]) == 0
    assert capsys.readouterr().err == "east: no controller is seen at work in east: its statuses may be old\n"


@pytest.mark.parametrize("words", [["ratings"], ["ServiceEntry", "istio-system/import.ratings"]])
def test_of_clusters_that_do_not_answer_nobody_says_what_they_lack(
    words: list[str], monkeypatch: Patch, capsys: Capture
) -> None:
    holding(monkeypatch, Unreached("west", "connection refused"))
    assert run(["explain", *words]) == 3
    assert capsys.readouterr() == ("", "west: not reached: connection refused\n")


async def test_what_it_takes_is_to_list_and_nothing_else_but_one_config_map(tmp_path: Path) -> None:
    """As the page on operations has it."""
    kubeconfig = tmp_path / "kubeconfig"
    async with APIServer(crds=[*all_crds(), *istio_crds()], authorization="RBAC") as server:
        kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
        async with Client(load_kubeconfig(str(kubeconfig), None, {})) as client:
            await client.create(RESOURCES["Namespace"], namespace(SYSTEM))
            await client.create(RESOURCES["MeshFederation"], mesh_federation("east"), namespace=SYSTEM)
            before = {*server.audit}
            found = await read(client, "east", None, (*OURS, LEASES, *SURROUNDINGS), mesh_config_map="istio")
        used = [use.asked for use in server.audit if use not in before and not use.asked.path]
    assert found.unread == {}
    assert {(one.verb, one.resource) for one in used if one.verb != "list"} == {("get", "configmaps")}
    assert {one.resource for one in used if one.verb == "list" and one.namespace == SYSTEM} == {
        *("meshfederations", "remotemeshes", "federatedservices", "leases"),
    }
    assert {one.resource for one in used if one.verb == "list" and not one.namespace} >= {
        *("services", "namespaces", "pods", "endpointslices", "authorizationpolicies", "serviceentries"),
    }


def test_a_part_that_never_ends_is_refused(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "part.json"
    file.write_text("[" * 100_000)
    assert run(["explain", "ratings", "--merge", str(file)]) == 2
    assert f"--merge {file}: " in capsys.readouterr().err


def test_a_line_that_is_no_text_is_refused(monkeypatch: Patch, capsys: Capture) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert run(["explain", "--log", "-"]) == 2
    assert "--log: " in capsys.readouterr().err
