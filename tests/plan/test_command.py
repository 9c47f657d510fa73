"""``meshfed plan``: files in, objects out; and what it says of files it cannot use.

Each folder below `cases` is one: `input.yaml`, `<remote>.offers.yaml` and `options` go in, `expected.yaml` comes out,
and with ``--report`` `report.yaml`, where there is one. To write what comes out anew after a change that is meant:
``MESHFED_WRITE_CASES=1 pytest tests/plan/test_command.py``.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import yaml

from meshfed.cli.app import run
from tests.builders import peer_authentication

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
BOOKINFO = Path(__file__).parent / "cases" / "bookinfo"


def command(case: Path) -> list[str]:
    options = case / "options"
    offers = [("--remote", f"{path.name.split('.')[0]}={path}") for path in sorted(case.glob("*.offers.yaml"))]
    return [
        "plan",
        "-f",
        str(case / "input.yaml"),
        *(part for pair in offers for part in pair),
        *(options.read_text().split() if options.exists() else ()),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(case)) == 0
    out, err = capsys.readouterr()
    if os.environ.get("MESHFED_WRITE_CASES"):
        (case / "expected.yaml").write_text(out)
    assert (out, err) == ((case / "expected.yaml").read_text(), "")


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case / "report.yaml").exists()], ids=lambda case: case.name
)
def test_report(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command(case), "--report"]) == 0
    out, err = capsys.readouterr()
    if os.environ.get("MESHFED_WRITE_CASES"):
        (case / "report.yaml").write_text(out)
    assert (out, err) == ((case / "report.yaml").read_text(), "")
    assert run([*command(case), "--report", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(out)


def test_json_is_one_list_of_the_same_objects(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command(BOOKINFO), "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    expected = list(yaml.safe_load_all((BOOKINFO / "expected.yaml").read_text()))
    assert listed == {"apiVersion": "v1", "kind": "List", "items": expected}


def test_the_metrics_port_is_that_of_the_controller(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command(BOOKINFO), "--metrics-bind-address", "127.0.0.1:9090"]) == 0
    expected = (BOOKINFO / "expected.yaml").read_text()
    assert expected.count("8080") == 1
    assert capsys.readouterr().out == expected.replace("8080", "9090")


def test_standard_input_and_folders_are_read_like_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (BOOKINFO / "input.yaml").read_text()
    first, _, rest = text.partition("---\n")
    (tmp_path / "mesh.yaml").write_text(first)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "rest.yml").write_text(rest)
    (tmp_path / "notes.txt").write_text("not: [yaml")
    outputs = []
    for given in (["-f", str(BOOKINFO / "input.yaml")], ["-f", str(tmp_path)], ["-f", "-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert run(["plan", *given]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2] != ""


def test_what_is_planned_may_be_planned_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The objects of a plan are the history of the next one."""
    for case in CASES:
        again = tmp_path / f"{case.name}.yaml"
        again.write_text((case / "expected.yaml").read_text())
        options = [option for option in command(case) if option != "--remote" and ".offers.yaml" not in option]
        assert run([*options, "-f", str(again)]) == 0
        assert capsys.readouterr().out == (case / "expected.yaml").read_text(), case.name


def test_names_that_are_not_resolved_are_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    case = Path(__file__).parent / "cases" / "several-remotes"
    without = [part for part in command(case) if part != "--resolve" and "192.0.2.2" not in part]
    assert run(without) == 0
    out, err = capsys.readouterr()
    assert err == (
        "warning: no IP of gateway.north.example is known, so it gets no WorkloadEntries: give it with --resolve "
        "gateway.north.example=IP\n"
    )
    assert "WorkloadEntry federation/cart" not in out


def test_where_mtls_is_turned_off_nothing_is_shared_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = peer_authentication("theirs", "DISABLE")
    ours = peer_authentication("ours", "DISABLE", namespace="istio-system")
    ours["metadata"]["labels"] = {"federation.openshift-service-mesh.io/owner-namespace": "istio-system"}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump_all([theirs, ours]))
    assert run([*command(BOOKINFO), "-f", str(tmp_path / "theirs.yaml")]) == 0
    out, err = capsys.readouterr()
    objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(out)}
    assert not [name for kind, name in objects if kind == "WorkloadEntry"]
    (hosts,) = (server["hosts"] for server in objects["Gateway", "federation-ingress-gateway"]["spec"]["servers"])
    assert hosts == ["federation-discovery-service-east.istio-system.svc.cluster.local"]
    warned = [line.partition(": PeerAuthentication")[0] for line in err.splitlines()]
    assert [line.partition(": ports of")[0] for line in warned] == [
        "warning: FederatedService istio-system/reviews.default.svc.cluster.local.west: MTLSDisabled",
        "warning: MeshFederation istio-system/east: MTLSDisabled",
    ]


def test_a_remote_mesh_that_is_being_deleted_counts_as_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it offers, and is recorded of it."""
    objects = [
        one for name in ("input", "expected") for one in yaml.safe_load_all((BOOKINFO / f"{name}.yaml").read_text())
    ]
    (west,) = (one for one in objects if one["kind"] == "RemoteMesh")
    (tmp_path / "gone.yaml").write_text(yaml.safe_dump_all(one for one in objects if one is not west))
    west["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/held"]}
    (tmp_path / "going.yaml").write_text(yaml.safe_dump_all(objects))
    assert run(["plan", "-f", str(tmp_path / "gone.yaml")]) == 0
    gone = capsys.readouterr()
    offers = command(BOOKINFO)[3:]
    assert offers[0] == "--remote"
    assert run(["plan", "-f", str(tmp_path / "going.yaml"), *offers]) == 0
    assert capsys.readouterr() == gone
    assert "kind: FederatedService" not in gone.out
    assert "kind: Gateway" in gone.out


@pytest.mark.parametrize(
    ("files", "arguments", "says"),
    [
        pytest.param({"a.yaml": "kind: [\n"}, [], ["a.yaml:2", "not YAML"], id="not YAML"),
        pytest.param({"a.yaml": "- 1\n"}, [], ["a.yaml", "not a Kubernetes object: name by -f only"], id="no object"),
        pytest.param(
            {"a.yaml": "kind: X\n"}, [], ["a.yaml", "apiVersion", "object: name by -f only"], id="no apiVersion"
        ),
        pytest.param(
            {"a.yaml": "kind: X\napiVersion: v1\n", "offers.yaml": "- host: a\n  ports: []\n"},
            [],
            ["offers.yaml", "with the objects of one mesh", "offers with --remote NAME=FILE"],
            id="the folder of several meshes",
        ),
        pytest.param(
            {
                "a.yaml": "apiVersion: federation.openshift-service-mesh.io/v1alpha1\n"
                "kind: RemoteMesh\nmetadata: {name: west}\nspec: {network: w, prot: 1}\n"
            },
            [],
            ["a.yaml", "RemoteMesh", "west", "spec.prot"],
            id="an unknown field",
        ),
        pytest.param(
            {
                "a.yaml": "apiVersion: federation.openshift-service-mesh.io/v1alpha1\n"
                "kind: RemoteMehs\nmetadata: {name: west}\n"
            },
            [],
            ["a.yaml", "RemoteMehs", "RemoteMesh"],
            id="an unknown kind of ours",
        ),
        pytest.param(
            {
                "a.yaml": "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: a, labels: x}\nspec: {}\n"
            },
            [],
            ["a.yaml", "DestinationRule", "metadata.labels", "Expected `object | null`, got `str`"],
            id="metadata of another form",
        ),
        pytest.param({}, ["-f", "nowhere.yaml"], ["nowhere.yaml", "No such file"], id="no such file"),
        pytest.param({}, ["--remote", "west"], ["--remote west", "NAME=FILE"], id="no file for the remote"),
        pytest.param({}, ["--remote", "west=x"], ["--remote west", "no RemoteMesh", "there are none"], id="no remote"),
        pytest.param({}, ["--resolve", "gw=x"], ["--resolve gw", "x is not an IP address"], id="not an IP"),
    ],
)
def test_what_cannot_be_used_is_named(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    arguments: list[str],
    says: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.yaml").write_text("")
    for name, text in files.items():
        Path(name).write_text(text)
    assert run(["plan", "-f", "empty.yaml", *(part for name in files for part in ("-f", name)), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, [part for part in says if part not in err]) == ("", []), err


def test_a_report_without_a_mesh_federation_has_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "-f", str(BOOKINFO / "input.yaml"), "-n", "elsewhere", "--report"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"offered": {}, "services": [], "statuses": []}


def test_remotes_with_one_identity_are_told_what_all_of_them_may_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (BOOKINFO.parent / "ports" / "input.yaml").read_text().replace("controller-central", "controller-west")
    (tmp_path / "a.yaml").write_text(text)
    assert run(["plan", "-f", str(tmp_path), "--report"]) == 0
    offered = yaml.safe_load(capsys.readouterr().out)["offered"]
    assert offered == {"central": ["cart.shop.svc.cluster.local"], "west": ["cart.shop.svc.cluster.local"]}


def test_offers_that_make_no_sense_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offers = tmp_path / "west.yaml"
    offers.write_text("- {host: a.b.svc.cluster.local, ports: [{name: http, number: 0}]}\n")
    assert run(["plan", "-f", str(BOOKINFO / "input.yaml"), "--remote", f"west={offers}"]) == 2
    assert str(offers) in capsys.readouterr().err


def test_without_a_mesh_federation_nothing_is_planned_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n")
    assert run(["plan", "-f", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert (out, "there is no MeshFederation in namespace istio-system" in err) == ("", True)


def test_two_controllers_namespaces_have_to_be_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (BOOKINFO / "input.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text + "---\n" + text.replace("namespace: istio-system", "namespace: other"))
    assert run(["plan", "-f", str(tmp_path)]) == 2
    assert "--namespace" in capsys.readouterr().err
    assert run(["plan", "-f", str(tmp_path), "--namespace", "other"]) == 0
    assert "federation-discovery-service-east.other.svc.cluster.local" in capsys.readouterr().out
