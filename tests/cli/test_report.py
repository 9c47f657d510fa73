"""``meshfed report``: what is in it, what never is, and that it stands in for the cluster."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshfed.api.errors import InvalidInput
from meshfed.cli import report as command
from meshfed.cli.app import run
from meshfed.cli.clusters import Seen
from meshfed.kube import Client, ClusterConfig, Manifest
from meshfed.model.importers import LastInPlace, RemoteImports
from meshfed.model.last_hour import ChangesSeen, HourOfChanges, LastChange, MinuteOfChanges
from meshfed.views import bundles
from meshfed.views.exports import exports, planned
from meshfed.views.importers import ImportersSeen
from meshfed.views.imports import imports
from meshfed.views.pseudonyms import Pseudonyms
from meshfed.views.snapshot import Snapshot, Unreached
from tests.builders import SYSTEM, config_map, mesh_federation, namespace, pod, remote_mesh, service
from tests.cli.fakes import imported, lease, snapshot, trouble

SECRET = "hunter2"
HOST = "ratings.shop.svc.cluster.local"
TOOK = ChangesSeen(90.0, {"west": HourOfChanges((MinuteOfChanges(1, 1, 0.2, 0.2),), LastChange(0.2, 70.0))})
IMPORTERS = ImportersSeen(
    {"west": RemoteImports(says=True, whole=True, imports=1)}, {HOST: {"west": True}}, "", TOOK, TOOK
)


def mesh() -> Snapshot:
    own = pod("ratings-1", "ratings", account="bookinfo-ratings", address="10.9.8.7")
    own["spec"]["containers"] = [{"name": "app", "env": [{"name": "PASSWORD", "value": SECRET}]}]
    deployment: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "federation-controller",
            "namespace": SYSTEM,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": SECRET},
        },
        "spec": {"template": {"spec": {"containers": [{"image": "meshfed:1", "env": [{"value": SECRET}]}]}}},
    }
    west = remote_mesh("west", addresses=["192.0.2.77", "gateway.acme.example"], import_={"merge": True})
    west["metadata"]["managedFields"] = [
        {"manager": manager, "time": "2026-01-01T10:00:00Z", "fieldsV1": {"f:spec": {"f:import": {"f:merge": {}}}}}
        for manager in ("kubectl-edit", "jane-deployer", "kubectl-jane", "Jörg", "jane.d@bank.example")
    ]
    west["metadata"]["managedFields"].append({"manager": "jane-adopted", "fieldsV1": {"f:spec": {"f:port": {}}}})
    secret: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": SECRET}}
    return snapshot(
        mesh_federation("east"),
        west,
        namespace("default"),
        namespace("shop"),
        service("ratings.shop", exported=True),
        own | {"metadata": own["metadata"] | {"namespace": "shop"}},
        imported("west", "cart.shop"),
        config_map("istio", namespace=SYSTEM, mesh="trustDomain: cluster.local\n", other=SECRET)
        | {"binaryData": {"a": SECRET}},
        lease("federation-controller-1"),
        deployment,
        secret,
    )


def again(*snapshots: Snapshot) -> tuple[Snapshot, ...]:
    members = {name: content for one in snapshots for name, content in bundles.files(one).items()}
    return bundles.unpacked(bundles.packed(members, moment=0.0), "report.tgz")


def test_it_stands_in_for_the_cluster() -> None:
    before = mesh()
    (after,) = again(before)
    assert planned(before)[1] == ()
    assert (after.source, after.namespace, after.taken, after.mesh) == ("east", SYSTEM, before.taken, "east")
    assert imports(after) == imports(before)
    assert exports(after, planned(after)[0]) == exports(before, planned(before)[0])
    assert planned(after)[0] == planned(before)[0]
    assert (after.importers, again(msgspec.structs.replace(before, importers=IMPORTERS))[0].importers) == (
        None,
        IMPORTERS,
    )


def test_several_meshes_in_one() -> None:
    west = snapshot(mesh_federation("west"), source="west")
    assert [one.mesh for one in again(mesh(), west)] == ["east", "west"]


def test_nothing_secret_is_in_it() -> None:
    text = b"".join(bundles.files(mesh()).values()).decode()
    assert SECRET not in text
    assert "meshfed:1" in text
    assert not any("Secret" in name for name in bundles.files(mesh()))


def test_pseudonyms_are_the_same_throughout_and_the_plan_is_alike() -> None:
    before = mesh()
    other = Pseudonyms([before], b"key")
    after = Snapshot(
        other.text(before.source),
        before.namespace,
        before.taken,
        tuple(other.value(bundles.cleaned(one)) for one in before.objects),
    )
    text = b"".join(bundles.files(after).values()).decode()
    for word in (
        "ratings",
        "shop",
        "bookinfo",
        "west",
        "acme",
        "192.0.2.77",
        "10.9.8.7",
        "cart",
        "jane",
        "Jörg",
        "bank",
    ):
        assert word not in text, word
    assert "kubectl-edit" in text
    one, two = planned(before)[0], planned(after)[0]
    assert [found["kind"] for found in one.objects] == [found["kind"] for found in two.objects]
    assert len(one.exports) == len(two.exports) == 1
    assert other.text("cart.shop.svc.cluster.local") in text
    assert Pseudonyms([before], b"another").text("ratings") != other.text("ratings") != "ratings"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cluster.local", True),
        ("127.0.0.1:15443", True),
        ("http", True),
        ("at 12:30:45", True),
        ("2026-01-01T00:00:00Z", True),
        ("import.x.192.0.2.9.y", False),
        ("[2001:db9::1]:15443", False),
        ("through 192.0.2.20:15443 as", False),
    ],
)
def test_what_gets_another_name(text: str, kept: bool) -> None:
    assert (Pseudonyms([mesh()], b"key").text(text) == text) is kept


def archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ODD_LEASE = b"{apiVersion: v1, kind: Lease, metadata: {name: a, labels: [x]}}"
HEAD = b'{"source": "e", "mesh": "e", "namespace": "n", "taken": "2026-01-01T00:00:00Z", "version": "1"}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not an archive", "it is not a .tgz archive"),
        (b"", "it is not a .tgz archive"),
        (archive([]), "it is no report"),
        (archive([("e/report.json", b"{")]), "e/report.json is not what a report has"),
        (archive([("e/report.json", HEAD.replace(b"2026", b"soon"))]), "`taken` of e"),
        (archive([("e/report.json", HEAD), ("e/objects/Pod.yaml", b"a: [")]), "Pod.yaml"),
        (archive([("e/report.json", HEAD), ("e/objects/Pod.yaml", b"\xff")]), "not UTF-8"),
        (archive([("e/report.json", HEAD), ("e/objects/Pod.yaml", b"[" * 100000)]), "Pod.yaml: it is nested too deep"),
        (archive([("e/report.json", HEAD), ("e/objects/Pod.yaml", b"kind: Pod")]), "Pod.yaml: an object is not as"),
        (archive([("e/report.json", HEAD), ("e/objects/Lease.yaml", ODD_LEASE)]), "an object is not as an API server"),
        (gzip.compress(archive([])[:200]), "it is not a .tgz archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_report_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"^report.tgz: .*{problem}" if "Pod" not in problem else problem):
        bundles.unpacked(content, "report.tgz")


def test_what_was_damaged_on_its_way_is_refused_and_not_read_by_half() -> None:
    whole = archive([("e/report.json", HEAD), ("f/report.json", HEAD)])
    plain = bytearray(gzip.decompress(whole))
    plain[plain.index(b"f/report.json")] ^= 0xFF
    damaged = gzip.compress(plain)[:-8] + whole[-8:]  # checksum and size come last
    with pytest.raises(InvalidInput, match=r"^report.tgz: it is not a .tgz archive, or it is damaged: CRC"):
        bundles.unpacked(damaged, "report.tgz")


def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MOST_BYTES", 1000)
    with pytest.raises(InvalidInput, match="more than 1000 bytes"):
        bundles.unpacked(archive([("e/report.json", HEAD), ("e/logs/big.log", b"0" * 1000)]), "report.tgz")


def test_what_comes_before_a_file_is_not_read_whole_either(monkeypatch: pytest.MonkeyPatch) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    monkeypatch.setattr(bundles, "MOST_BYTES", 10_000)
    with pytest.raises(InvalidInput, match="more than 10000 bytes"):
        bundles.unpacked(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + b"0" * 100_000), "report.tgz")


def test_meshes_of_one_name_have_a_folder_each() -> None:
    assert bundles.folders((mesh(), mesh(), snapshot(mesh_federation("west")))) == ["east", "east-2", "west"]


def test_a_file_that_never_ends_is_not_read_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundles, "MOST_BYTES", 10_000)
    assert run(["status", "-f", "/dev/zero"]) == 2
    assert "it has more than 10000 bytes" in capsys.readouterr().err


def test_paths_out_of_the_report_are_skipped() -> None:
    (one,) = bundles.unpacked(archive([("e/report.json", HEAD), ("../../objects/Pod.yaml", b"a: [")]), "r")
    assert one.objects == ()


# --- the command


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find `trouble` in the cluster east; west is away."""

    async def look_at(*_: Any, **__: Any) -> Seen:
        return (trouble(),), (Unreached("west", "connection refused"),)

    async def of_pods(*_: Any) -> dict[str, str]:
        return {"logs/controller-0.log": "west said hello\n"}

    monkeypatch.setattr(command, "clusters", lambda _: (("east", ClusterConfig("http://127.0.0.1:1")),))
    monkeypatch.setattr(command, "look_at", look_at)
    monkeypatch.setattr(command, "_of_pods", of_pods)
    monkeypatch.setattr("meshfed.cli.importers.of_cluster", who_imports)


async def who_imports(_: Client, __: Snapshot, hosts: Sequence[str] | None) -> ImportersSeen:
    assert hosts is None
    return IMPORTERS


@pytest.mark.usefixtures("reached")
def test_a_report_is_written_and_read_by_the_other_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "report.tgz")
    assert run(["report", "--to", file]) == 3
    assert "west: not reached: connection refused" in capsys.readouterr().err
    assert (tmp_path / "report.tgz").stat().st_mode & 0o777 == 0o600
    assert run(["imports", "-f", file, "ratings"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == [
        "ratings.default",
        "west",
        "Imported",
    ]
    assert run(["status", "-f", file]) == 1
    assert run(["plan", "-f", file]) == 0
    assert "kind: PeerAuthentication" in capsys.readouterr().out
    assert run(["report", "--to", file]) == 2
    assert "it is there already" in capsys.readouterr().err
    assert run(["imports", "-f", file, "--context", "east"]) == 2


@pytest.mark.usefixtures("reached")
def test_it_can_go_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["report", "--to", "-"]) == 3
    (one,) = bundles.unpacked(capfdbinary.readouterr().out, "-")
    assert one.mesh == "east"


@pytest.mark.usefixtures("reached")
@pytest.mark.parametrize("words", [[], ["--pseudonyms"]])
def test_who_imports_is_in_it_and_under_the_same_names(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_at(*_: Any, **__: Any) -> Seen:
        return (mesh(),), ()

    monkeypatch.setattr(command, "look_at", look_at)
    file = str(tmp_path / "report.tgz")
    assert run(["report", "--to", file, *words]) == 0
    capsys.readouterr()
    assert run(["exports", "-f", file, "-o", "json"]) == 0
    (found,) = msgspec.json.decode(capsys.readouterr().out)["items"]
    assert [one["imported"] for one in found["importers"]] == ["Current"]
    assert ((found["name"], found["importers"][0]["remote"]) == ("ratings", "west")) is not bool(words)


@pytest.mark.usefixtures("reached")
def test_a_dry_run_lists_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.tgz"
    assert run(["report", "--dry-run", "--to", str(file)]) == 3
    listed = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert {"east/report.json", "east/objects/RemoteMesh.yaml", "east/status.txt"} <= set(listed)
    assert {"east/logs/controller-0.log", "dashboard.html"} <= set(listed)
    assert not file.exists()


@pytest.mark.usefixtures("reached")
def test_the_page_of_it_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise ValueError("odd")

    monkeypatch.setattr("meshfed.dashboard.still.still", broken)
    assert run(["report", "--to", str(tmp_path / "report.tgz")]) == 3
    assert "dashboard.html is left out, which is a fault of Meshfed: ValueError: odd" in capsys.readouterr().err
    with tarfile.open(tmp_path / "report.tgz") as opened:
        assert "east/report.json" in opened.getnames()
        assert "dashboard.html" not in opened.getnames()


@pytest.mark.parametrize("name", ["remotes", "minutes", "seconds", "west"])
def test_a_name_that_is_a_word_of_ours_gets_another_and_the_word_does_not(name: str) -> None:
    other = Pseudonyms([snapshot(mesh_federation("east"), remote_mesh(name))], b"key")
    took = ChangesSeen(90.0, {name: TOOK.remotes["west"]})
    last = LastInPlace(f"ratings.{name}", 0.2, 70.0)
    before = ImportersSeen(
        {name: RemoteImports(says=True, last=last)}, {f"ratings.{name}": {name: True}}, "", took, took
    )
    new = other.text(name)
    assert new != name
    after = command._others(before, other)
    assert after == ImportersSeen(
        {new: RemoteImports(says=True, last=LastInPlace(f"ratings.{new}", 0.2, 70.0))},
        {f"ratings.{new}": {new: True}},
        "",
        ChangesSeen(90.0, {new: TOOK.remotes["west"]}),
        ChangesSeen(90.0, {new: TOOK.remotes["west"]}),
    )


@pytest.mark.usefixtures("reached")
def test_logs_get_other_names_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.tgz"
    assert run(["report", "--pseudonyms", "--to", str(file)]) == 3
    capsys.readouterr()
    with tarfile.open(file) as opened:
        texts = {one.name: opened.extractfile(one).read().decode() for one in opened}  # type: ignore[union-attr] # files
    west = re.compile(r"(?<![a-z])west")  # and not the end of another word
    assert not any(west.search(text) or west.search(name) for name, text in texts.items())
    (said,) = (text for name, text in texts.items() if name.endswith("/importers.json"))
    found = json.loads(said)
    (remote,) = found["remotes"]
    assert [*found["importsTook"]["remotes"]] == [*found["exportsTook"]["remotes"]] == [remote]
    assert any(text.endswith(" said hello\n") for text in texts.values())
