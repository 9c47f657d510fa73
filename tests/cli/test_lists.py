"""``meshfed status``, ``exports``, ``imports`` and ``remotes``: what is printed of what a cluster holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from meshfed.cli.app import run
from meshfed.cli.clusters import One, as_object, settled
from meshfed.cli.output import How, Listing, TableColumn, show
from meshfed.kube import MalformedAnswer, Resource
from meshfed.model.importers import RemoteImports
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Snapshot, Unreached
from tests.builders import (
    SYSTEM,
    config_map,
    host,
    manifest,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.cli.fakes import BEFORE, condition, holding, imported, lease, replica, snapshot, trouble, with_status

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
WEST = snapshot(
    with_status(mesh_federation("west"), condition("Ready", True, "Ready", "all is well")),
    imported("east", "details"),
    lease("west-0"),
    source="west",
)


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], None]:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate


def test_status_says_what_is_wrong_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    holding(monkeypatch, trouble())
    assert run(["status"]) == 1
    assert (
        capsys.readouterr().out
        == """\
Mesh east is not ready for 5m (namespace istio-system, east)
  Controller  controller-0 leads for 3h, heard 2s ago
              controller-0 (leads): version 1.2.3, heard 5s ago
              controller-1: version 1.2.3, heard 5s ago, serves west
              controller-x: version 1.2.3, heard 5m ago: it is gone
  Exports     3 Services
  Imports     2 hosts (offers: 1 Denied, 1 Failed, 1 Imported, 1 Pending, 2
              Refused, 1 Unreachable)

What is wrong
  MeshFederation istio-system/east: ExportsReady False NoMeshEndpoints, for 5m
    no endpoint of shop/cart has a sidecar
  RemoteMesh istio-system/north: Connected False Unreachable, for 5m
    192.0.2.30:15443: connection refused
    With it: Synced False
  FederatedService old.default.svc.cluster.local: Failed from north WriteFailed,
      for 5m
    the webhook says no
  FederatedService reviews.default.svc.cluster.local: Unreachable from west
      NotPassedOn, for 5m
    192.0.2.20:15443: closed at the SNI
  FederatedService cart.default.svc.cluster.local,
      details.default.svc.cluster.local: Refused from west LocalServiceExists,
      for 5m
    there is a local Service

REMOTE   READY   HEARD   HEARS   REACHABLE   IMPORTED   REASON
north    False   False   -       -           1/1        Unreachable
west     True    True    -       True        2/6
"""
    )


def test_several_meshes_side_by_side_and_one_that_does_not_answer_blocks_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, WEST, Unreached("north", "connection refused"))
    assert run(["status", "--context", "west", "--context", "north"]) == 3
    assert (
        capsys.readouterr().out
        == """\
Mesh west is ready for 5m (namespace istio-system, west)
  Controller  west-0 leads for 3h, heard 2s ago
  Exports     0 Services
  Imports     0 hosts (offers: 1 Imported)
  Remotes     it federates with nobody yet: there is no RemoteMesh; give the
              owner of the other mesh what `meshfed link card` prints, and make
              a RemoteMesh of the card that they give you: `meshfed link CARD
              --apply`

north: not reached: connection refused
"""
    )


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ((), "nobody"),
        ((lease("c", renewed="2026-01-01T11:00:00Z"),), "c led, and was last heard 60m ago: nobody leads"),
        ((manifest("Lease", "meshfed-controller", {"holderIdentity": ""}),), "nobody leads"),
        ((lease("c"),), "c leads for 3h, heard 2s ago"),
        ((replica("c"),), "c: version 1.2.3, heard 5s ago"),
        ((lease("an_odd_host"),), "an_odd_host leads for 3h, heard 2s ago"),
    ],
)
def test_who_leads(
    objects: tuple[Any, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, snapshot(mesh_federation("east"), *objects))
    run(["status"])
    line = capsys.readouterr().out.splitlines()[1]
    assert line == f"  Controller  {said}" if objects else line.startswith("  Controller  there is no Lease of one")


def test_where_no_controller_shows_itself_nobody_says_that_all_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = with_status(mesh_federation("east"), condition("Ready", True, "Ready"))
    holding(monkeypatch, snapshot(ready))
    assert run(["status"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("Mesh east was ready when a controller last said so (")
    assert "  Controller istio-system: Unknown\n    no Lease of one is in this namespace" in said


def test_an_object_that_nobody_looked_at_has_no_condition_to_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, snapshot(mesh_federation("east", created=BEFORE), lease("a")))
    run(["status"])
    assert "  MeshFederation istio-system/east, for 5m\n    it has no status: " in capsys.readouterr().out


def test_what_a_handshake_found_comes_before_what_follows_from_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    west = with_status(
        remote_mesh("west"),
        condition("Connected", False, "Unreachable"),
        condition("Reachable", False, "GatewayNotReached"),
    )
    holding(monkeypatch, snapshot(mesh_federation("east"), west))
    run(["status"])
    said = capsys.readouterr().out
    assert "RemoteMesh istio-system/west: Reachable False GatewayNotReached" in said
    assert "With it: Connected False" in said


def test_a_leader_that_is_not_heard_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = with_status(mesh_federation("east"), condition("Ready", True, "Ready"))
    holding(monkeypatch, snapshot(ready, lease("c")))
    assert run(["status"]) == 0
    holding(monkeypatch, snapshot(ready, lease("c", renewed="2026-01-01T11:00:00Z")))
    assert run(["status"]) == 1
    capsys.readouterr()


def test_a_mesh_that_is_not_there_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, snapshot(unread={"RemoteMesh": "you may not list remotemeshes"}))
    assert run(["status"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "there is no MeshFederation in namespace istio-system; name another with --namespace, or create one" in out
    assert "Not seen: you may not list remotemeshes" in out
    holding(monkeypatch, snapshot(unread={"MeshFederation": "you may not list meshfederations"}))
    assert run(["status"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "whether there is a MeshFederation is not known: you may not list meshfederations" in out
    assert "there is no MeshFederation" not in out


IMPORTS = """\
HOST              REMOTE   STATE         REACHABLE   REASON               AGE
old.default       north    Failed        True        WriteFailed          5m
reviews.default   west     Unreachable   False       NotPassedOn          5m
cart.default      west     Refused       True        LocalServiceExists   5m
details.default   west     Refused       True        LocalServiceExists   5m
new.default       west     Pending       True        Pending              5m
secret.default    west     Denied        True        DeniedByRule         5m
ratings.default   west     Imported      True        Answered             5m
"""


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ([], range(1, 8)),
        (["--problems"], [1, 2, 3, 4]),
        (["--remote", "north"], [1]),
        (["reviews"], [2]),
        (["-l", "app in (cart, new)"], [3, 5]),
        (["reviews.default"], [2]),
        (["reviews.default.svc.cluster.local"], [2]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else "",
)
def test_imports_are_listed_the_worst_first(
    arguments: list[str], kept: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, trouble())
    assert run(["imports", *arguments]) == 0
    lines = IMPORTS.splitlines()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        lines[number].split() for number in [0, *kept]
    ]


def test_a_name_that_nothing_has(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    holding(monkeypatch, trouble())
    assert run(["imports", "rev"]) == 1
    assert capsys.readouterr() == (
        "",
        "meshfed: rev: there is nothing of that name here; without a name, everything is listed\n",
    )


def test_a_name_that_was_withdrawn_says_when_and_by_whom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {
        "kind": "Event",
        "metadata": {"name": "a", "namespace": SYSTEM},
        "involvedObject": {"kind": "FederatedService", "name": "gone.default.svc.cluster.local.west"},
        "reason": "Withdrawn",
        "lastTimestamp": BEFORE,
    }
    holding(monkeypatch, snapshot(mesh_federation("east"), remote_mesh("west"), gone))
    assert run(["imports", "gone"]) == 1
    assert capsys.readouterr().err == (
        "meshfed: gone: there is nothing of that name here (west withdrew gone.default.svc.cluster.local from east 5m "
        "ago); without a name, everything is listed\n"
    )
    holding(monkeypatch, snapshot(mesh_federation("east"), unread={"Event": "you may not list events"}))
    assert run(["imports", "gone"]) == 1
    assert "(you may not list events)" in capsys.readouterr().err


LONG = "the controller's own sidecar ended the connection when it had seen the name that was asked for " * 3


def crowded() -> Snapshot:
    """A mesh with long names, and much to say of it."""
    here = trouble()
    away = [
        with_status(
            remote_mesh("production-eu", import_={}),
            condition("Ready", False, "CertificateNotValid", LONG),
            condition("Connected", False, "Unreachable", LONG),
            condition("Synced", False, "NotSynced", "not connected; what was imported stays as it was"),
            condition("Reachable", False, "CertificateNotValid", LONG),
            condition("Subscribed", "Unknown", "SubscribersUnknown", LONG),
            offeredServices=1200,
            importedServices=1100,
        ),
        *(
            imported(
                "production-eu", f"recommendations-{n}", condition("Reachable", False, "CertificateNotValid", LONG)
            )
            for n in range(9)
        ),
        imported("production-eu", "wishlist", condition("Accepted", True, "TrafficPolicyOverridden", LONG)),
        imported("production-eu", "cart", condition("Applied", False, "WriteFailed", LONG)),
    ]
    return snapshot(*here.objects, *away)


@pytest.mark.parametrize("command", [["status"], ["remotes"], ["imports"], ["exports", "--all"]], ids="-".join)
@pytest.mark.parametrize("columns", [80, 100])
def test_what_people_read_fits_into_their_terminal(
    columns: int, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ports = [port(n) for n in range(9000, 9020)]
    holding(monkeypatch, snapshot(*crowded().objects, service("recommendations.bookinfo", exported=True, ports=ports)))
    run(command)
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if len(line) > columns] == []
    assert "CertificateNotValid" in out or command[0] == "exports"


def test_what_follows_from_something_is_said_once_with_how_many_it_covers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, crowded())
    assert run(["status"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(LONG.strip()) == 2  # the way, and the write that fails
    assert "With it: Connected False, Synced False, 9 imports Unreachable" in said


@pytest.mark.parametrize("command", ["imports", "remotes", "exports"])
def test_an_empty_list_is_no_error(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, snapshot(mesh_federation("east")))
    assert run([command]) == 0
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["imports", "--problems"], "no offer matches these flags; without them, everything is listed\n"),
        (["imports", "--remote", "north"], "no offer matches these flags; without them, everything is listed\n"),
        (["imports", "-l", "app=no"], "no offer matches these flags; without them, everything is listed\n"),
        (["remotes", "--problems"], "no RemoteMesh matches these flags; without them, everything is listed\n"),
        (["exports", "--to", "north"], "no Service matches these flags; without them, everything is listed\n"),
    ],
)
def test_that_nothing_is_as_was_asked_for_does_not_say_that_there_is_nothing(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = with_status(remote_mesh("west", import_={}), condition("Ready", True, "Ready"))
    holding(monkeypatch, snapshot(mesh_federation("east"), ready, imported("west", "ratings")))
    assert run(arguments) == 0
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("command", ["imports", "remotes", "exports"])
def test_of_what_cannot_be_seen_nobody_says_that_it_is_not_there(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, snapshot(unread={"RemoteMesh": "you may not list remotemeshes"}))
    assert run([command]) == 0
    assert capsys.readouterr() == ("", "east: you may not list remotemeshes\n")


def test_remotes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    holding(monkeypatch, trouble())
    assert run(["remotes"]) == 0
    assert (
        capsys.readouterr().out
        == """\
REMOTE   READY   HEARD   HEARS   REACHABLE   IMPORTED   REASON        AGE
north    False   False   -       -           1/1        Unreachable   5m
west     True    True    -       True        2/6                      5m
"""
    )
    assert run(["remotes", "--problems", "-o", "name"]) == 0
    assert capsys.readouterr().out == "remotemesh.federation.openshift-service-mesh.io/north\n"


def test_exports_are_decided_as_the_controller_decides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = snapshot(
        mesh_federation("east"),
        namespace("default"),
        service("ratings", exported=True),
        pod("ratings-1", "ratings"),
        service("bare", exported=True),
        pod("bare-1", "bare", sidecar=False),
        service("outside", exported=True, type="ExternalName", externalName="example.org"),
        service("private"),
    )
    holding(monkeypatch, here)
    assert run(["exports"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (
        """\
SERVICE           EXPORTED   PORTS       TO    REASON
default/outside   False      -           -     ExternalName
default/bare      True       9080/HTTP   all   NoMeshEndpoints
default/ratings   True       9080/HTTP   all   Exported
""",
        "",
    )
    assert run(["exports", "private"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["default/private", "False", "-", "-", "NotSelected"]
    assert run(["exports", "-l", "app!=bare,app", "-o", "name"]) == 0
    assert capsys.readouterr().out.splitlines() == ["default/outside", "default/ratings"]
    assert run(["exports", "--all", "-o", "name"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "default/outside",
        "default/bare",
        "default/ratings",
        "default/private",
    ]


def test_who_imports_an_export_is_said_as_the_importers_say_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = snapshot(
        mesh_federation("east"),
        namespace("default"),
        *(one for name in ("ratings", "reviews") for one in (service(name, exported=True), pod(f"{name}-1", name))),
        *map(remote_mesh, ("west", "north", "south", "up", "down")),
    )
    says = RemoteImports(says=True, whole=True, imports=1)
    found = ImportersSeen(
        {"west": says, "north": says, "south": says, "up": RemoteImports()},
        {host("ratings"): {"west": True, "north": False}},
    )
    holding(monkeypatch, here, importing=found)
    assert run(["exports", "ratings"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (
        """\
SERVICE           EXPORTED   PORTS       TO    REASON
default/ratings   True       9080/HTTP   all   Exported

default/ratings: imported by west; imported by north as it was offered before; not imported by south; up does not say; \
down does not subscribe
""",
        "",
    )
    assert run(["exports", "-o", "wide"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines[0].index("IMPORTED-BY")
    assert [line[at:].split()[0] for line in lines] == ["IMPORTED-BY", "2", "0"]
    holding(monkeypatch, here, importing=ImportersSeen(why="you may not get pods/proxy in namespace istio-system"))
    assert run(["exports", "ratings"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "default/ratings: of down, north, south and 2 more it is not known"
    assert err == "east: who imports is not known: you may not get pods/proxy in namespace istio-system\n"
    assert run(["exports"]) == 0
    assert capsys.readouterr().err == "", "a list asks nobody"


@pytest.mark.parametrize("command", ["status", "imports", "remotes", "exports"])
def test_documents_meet_their_schema(
    command: str,
    validate: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    holding(monkeypatch, trouble(), WEST, Unreached("north", "connection refused"))
    assert run([command, "-o", "json"]) == 3
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert document["items"] or command == "exports"
    assert document["unreached"] == [{"source": "north", "why": "connection refused"}]
    assert run([command, "-o", "yaml"]) == 3
    assert yaml.safe_load(capsys.readouterr().out) == document


def test_a_document_that_is_none_does_not_meet_the_schema(validate: Callable[[Any], None]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        validate({"apiVersion": "cli.federation.openshift-service-mesh.io/v1alpha1", "kind": "ImportList"})


def test_what_strangers_wrote_speaks_to_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = condition("Accepted", False, "InvalidHost", "\x1b[2Jgone\nHOST faked")
    holding(monkeypatch, snapshot(mesh_federation("east"), imported("west", "ratings", evil)))
    for arguments in (["imports", "-o", "wide"], ["status"]):
        run(arguments)
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\\x1b[2Jgone\\nHOST faked" in out


def test_of_several_meshes_each_row_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, trouble(), WEST)
    assert run(["imports", "details"]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["MESH", "HOST", "REMOTE"],
        ["east", "details.default", "west"],
        ["west", "details.default", "east"],
    ]


def test_watching_shows_what_changed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [
        snapshot(mesh_federation("east"), imported("west", "ratings"), imported("west", "reviews")),
        snapshot(
            mesh_federation("east"),
            imported("west", "ratings"),
            imported("west", "reviews", condition("Reachable", False, "NotPassedOn")),
        ),
    ]
    slept = iter(changed)

    def sleep(_: float) -> None:
        found = next(slept, None)
        if found is None:
            raise KeyboardInterrupt
        holding(monkeypatch, found)

    monkeypatch.setattr("meshfed.cli.output.time.sleep", sleep)
    holding(monkeypatch, changed[0])
    assert run(["imports", "--watch"]) == 130
    assert [line.split()[0] + " " + line.split()[2] for line in capsys.readouterr().out.splitlines()] == [
        "HOST STATE",
        "ratings.default Imported",
        "reviews.default Imported",
        "reviews.default Unreachable",
    ]


EVIL = "x\x1b[31my"


@pytest.mark.parametrize("command", [["status"], ["imports", "-o", "wide"], ["remotes", "-o", "wide"], ["check"]])
def test_nothing_that_strangers_wrote_speaks_to_the_terminal(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = with_status(mesh_federation("east"), condition("Ready", False, "NoMeshEndpoints", EVIL))
    one = snapshot(
        evil,
        imported("west", "ratings", condition("Applied", False, "WriteFailed", EVIL)),
        lease(EVIL),
        replica("a", **{EVIL: "2026-01-01T11:55:00Z"}),
        source=EVIL,
        unread={"Pod": EVIL},
    )
    holding(monkeypatch, one)
    monkeypatch.setattr("meshfed.cli.facts.reported", lambda _: (one,))
    assert run([*command, "-f", "x"]) in {0, 1}
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {"holderIdentity": "a", "renewTime": "9999-12-31T23:59:59Z", "leaseDurationSeconds": 10**30},
        {"holderIdentity": 5, "renewTime": 7, "leaseDurationSeconds": "long"},
        [],
    ],
)
@pytest.mark.parametrize("name", ["meshfed-controller", "meshfed-replica-a"])
def test_leases_that_nobody_would_write_are_of_nobody(
    name: str, spec: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = replica("a") | {"spec": spec}
    odd["metadata"] |= {"name": name}
    holding(monkeypatch, snapshot(mesh_federation("east"), odd))
    assert run(["status"]) == 1
    assert capsys.readouterr().out


def test_a_configuration_of_istio_that_nobody_can_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("a: [", "[a]"):
        broken = config_map("istio", namespace="istio-system", mesh=text)
        holding(monkeypatch, snapshot(mesh_federation("east"), namespace("default"), service("reviews"), broken))
        assert run(["exports", "--all"]) == 0
        said = capsys.readouterr()
        assert "default/reviews" in said.out
        assert "ConfigMap istio-system/istio" in said.err


def test_what_is_watched_has_a_heading_even_if_there_was_nothing_first(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [TableColumn[Any]("HOST", lambda one: one["host"])]
    nothing: Listing[Any] = Listing("ImportList", columns, [], str)
    show(nothing, How(watch=True))
    one = nothing._replace(rows=[{"host": "a"}])
    show(one, How(watch=True), [])
    show(one._replace(rows=[{"host": "b"}, {"host": "a"}]), How(watch=True), one.rows)
    assert capsys.readouterr().out.split() == ["HOST", "a", "b"]


def test_a_leader_that_dies_is_seen_by_who_watches_documents(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = iter([lease("c-0"), lease("c-0", "2026-01-01T11:59:59.000000Z"), lease("c-0", "2026-01-01T11:00:00Z")])

    def look(*_: Any, **__: Any) -> Any:
        found = next(looks, None)
        if found is None:
            raise KeyboardInterrupt
        return (snapshot(mesh_federation("east"), found),), ()

    monkeypatch.setattr("meshfed.cli.status.look", look)
    monkeypatch.setattr("meshfed.cli.status.LOOK_SECONDS", 0.0)
    assert run(["status", "-o", "yaml", "--watch"]) == 130
    alive = [
        one["items"][0]["controller"]["leader"]["alive"] for one in yaml.safe_load_all(capsys.readouterr().out) if one
    ]
    assert alive == [True, False]


def test_what_is_written_goes_to_the_cluster_that_was_seen(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("contexts: [{name: west, context: {}}, {name: east, context: {}}]\ncurrent-context: west\n")
    one = One(kubeconfig=str(file))
    assert settled(one, snapshot(source="east")).context == "east"
    assert settled(one, snapshot(source="https://10.0.0.1")).context is None


@pytest.mark.parametrize("metadata", [None, [], {}, {"name": None}, {"name": 5}])
def test_an_object_without_a_name_is_none(metadata: Any) -> None:
    with pytest.raises(MalformedAnswer, match="one of pods has no name"):
        as_object({"metadata": metadata}, Resource("", "v1", "pods", "Pod"))
    with pytest.raises(MalformedAnswer, match="answers with 'b' of pods where a was asked for"):
        as_object({"metadata": {"name": "b"}}, Resource("", "v1", "pods", "Pod"), "a")
