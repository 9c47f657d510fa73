"""``meshfed check``: what is printed in every format, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from meshfed import __version__
from meshfed.cli import check as command
from meshfed.cli.app import run
from meshfed.cli.clusters import Where
from meshfed.cli.facts import Asked
from meshfed.views import bundles
from meshfed.views.checks import Facts
from meshfed.views.snapshot import Unreached
from tests.cli.fakes import condition, imported
from tests.views.healthy import answered, configured, facts, gateway, west

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
AWAY = Unreached("north", "connection refused")


def finding(monkeypatch: pytest.MonkeyPatch, *rounds: tuple[Facts | Unreached, ...]) -> list[Asked]:
    """Let the command find out that, round after round and the last one for ever; returns what it was asked."""
    asked: list[Asked] = []

    async def find_out(_where: Where, wanted: Asked) -> tuple[tuple[Facts, ...], tuple[Unreached, ...]]:
        found = rounds[min(len(asked), len(rounds) - 1)]
        asked.append(wanted)
        return (
            tuple(one for one in found if isinstance(one, Facts)),
            tuple(one for one in found if isinstance(one, Unreached)),
        )

    monkeypatch.setattr(command, "find_out", find_out)
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.001)
    monkeypatch.setenv("COLUMNS", "80")
    return asked


def broken(**more: Any) -> Facts:
    """A mesh with a failure, a warning, something unknown, and something that is not asked."""
    refused = condition("Reachable", False, "NotPassedOn", "192.0.2.20:15443: closed at the SNI; export it there")
    changes = {
        "config": configured(capture='"false"'),
        "istiod": None,
        "gateway": gateway(),
        "ratings": imported("west", "ratings", refused),
    }
    return facts(changes, **more)


TABLE = """\
Mesh east (namespace istio-system, east)

cluster
  ok       kubernetes: Kubernetes v1.31.2 (read just now)
  ok       istio-kinds: all 7 kinds of Istio are served (read just now)
  ok       crds: 3 CRDs hold all that Meshfed VERSION writes (read just now)
  ok       clock: the API server has the time that it is here, to within 0.6 s
           (read just now)
  ok       controller-clock: the controller's last sign was 2s ago by the API
           server's clock, and none is of a time to come (read just now)

permissions
  ok       reading: you may read all that is looked at (read just now)
  ok       controller: ServiceAccount istio-system/federation-controller-east
           has the 1 permission that it needs (asked just now)

istio
  unknown  istiod: there is no Deployment with the label app=istiod in namespace
           istio-system: either istiod runs outside of this cluster, or it is in
           another namespace (`controlPlaneNamespace` of the MeshFederation)
  unknown  mesh-config: there is no Deployment of istiod here, and so whether
           istiod reads more than ConfigMap istio-system/istio is unknown
  warning  dns-capture: ConfigMap istio-system/istio does not have
           ISTIO_META_DNS_CAPTURE, so in pods that do not set it themselves an
           imported host without a local Service does not resolve (read just
           now)
           Remedy: set `ISTIO_META_DNS_CAPTURE: "true"` in
           `defaultConfig.proxyMetadata`, and restart the pods
           See: docs/troubleshooting.md#the-name-does-not-resolve
  ok       outbound-policy: ConfigMap istio-system/istio has ALLOW_ANY: unknown
           destinations are let through (read just now)
  ok       network: namespace istio-system is of network east-network (read just
           now)
  ok       gateway-view: 1 gateway pod sees network east-network alone (read
           just now)
  ok       roots: root of all meshes, valid for 10y more (read just now)

mesh
  ok       mesh-federation istio-system/east: exports 1 service (stored status,
           5m old)
  ok       controller: controller-1 leads, heard 2s ago (read just now)
  ok       linked: it federates with west (read just now)
  ok       version: controller and command are VERSION (read just now)
  ok       gateway istio-system/east: the gateway's objects are in place (stored
           status, 5m old)
  ok       exports istio-system/east: 1 service exported (stored status, 5m old)

remotes
  ok       ready west: 1 of 1 offered services imported (stored status, 5m old)
  ok       identity west: callers with
           spiffe://cluster.local/ns/istio-system/sa/federation-controller-west
           are this remote (stored status, 5m old)
  ok       gateway west: answered through 192.0.2.10:15443 as
           spiffe://cluster.local/ns/istio-system/sa/federation-controller-west
           (stored status, 5m old)
  skipped  gateway-from-here west: it is tried with --probe
  skipped  certificate west: it is seen with --probe
  ok       connected west: connected (stored status, 5m old)
  ok       synced west: all that it offers has been received (stored status, 5m
           old)
  ok       subscribed west: it subscribes (stored status, 5m old)
  ok       propagation west: the last change, of ratings.default, was in place
           there after 0.31 s; 2 hosts imported there (said by the remote, 40s
           old)
  failed   imports west: NotPassedOn: ratings.default.svc.cluster.local:
           192.0.2.20:15443: closed at the SNI; export it there (stored status,
           5m old)
           See: docs/troubleshooting.md#the-gateway-does-not-pass-it-on

24 ok, 1 warning, 1 failed, 2 unknown, 2 skipped
""".replace("VERSION", __version__)
SHORT = """\
unknown istio/istiod: there is no Deployment with the label app=istiod in namespace istio-system: either istiod runs \
outside of this cluster, or it is in another namespace (`controlPlaneNamespace` of the MeshFederation)
unknown istio/mesh-config: there is no Deployment of istiod here, and so whether istiod reads more than ConfigMap \
istio-system/istio is unknown
warning istio/dns-capture: ConfigMap istio-system/istio does not have ISTIO_META_DNS_CAPTURE, so in pods that do not \
set it themselves an imported host without a local Service does not resolve; set `ISTIO_META_DNS_CAPTURE: "true"` in \
`defaultConfig.proxyMetadata`, and restart the pods (see docs/troubleshooting.md#the-name-does-not-resolve)
failed  remotes/imports west: NotPassedOn: ratings.default.svc.cluster.local: 192.0.2.20:15443: closed at the SNI; \
export it there (see docs/troubleshooting.md#the-gateway-does-not-pass-it-on)
"""


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    finding(monkeypatch, (broken(),))
    assert run(["check"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (TABLE, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_short_is_a_line_for_whatever_is_not_ok_and_silent_where_nothing_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding(monkeypatch, (broken(),))
    assert run(["check", "-o", "short"]) == 1
    assert capsys.readouterr() == (SHORT, "")
    finding(monkeypatch, (facts(finding=answered()),))
    assert run(["check", "-o", "short", "--fail-on", "unknown"]) == 0
    assert capsys.readouterr() == ("", "")


def test_several_meshes_side_by_side_and_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding(monkeypatch, (broken(), facts(), AWAY))
    assert run(["check", "-o", "short"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("unknown east istio/istiod: ")
    assert lines[-1] == "north: not reached: connection refused"
    assert run(["check"]) == 3
    out = capsys.readouterr().out
    assert out.count("Mesh east (") == 2
    assert out.endswith("\n\nnorth: not reached: connection refused\n")


@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_documents_meet_their_schema(
    format_: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validate: Callable[[Any], None] = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate
    finding(monkeypatch, (broken(finding=answered()), AWAY))
    assert run(["check", "-o", format_]) == 3
    text = capsys.readouterr().out
    document = json.loads(text) if format_ == "json" else yaml.safe_load(text)
    validate(document)
    assert document["kind"] == "CheckList"
    failed = [one for one in document["items"] if one["outcome"] == "failed"]
    assert failed == [
        {
            "mesh": "east",
            "group": "remotes",
            "check": "imports",
            "about": "west",
            "outcome": "failed",
            "reason": "NotPassedOn",
            "message": "ratings.default.svc.cluster.local: 192.0.2.20:15443: closed at the SNI; export it there",
            "remedy": "",
            "evidence": "stored status",
            "since": "2026-01-01T11:55:00Z",
            "docs": "troubleshooting.md#the-gateway-does-not-pass-it-on",
        }
    ]


@pytest.mark.parametrize(
    ("fail_on", "found", "code"),
    [
        ("failed", facts(), 0),
        ("failed", facts({"config": configured(capture='"false"')}), 0),
        ("warning", facts({"config": configured(capture='"false"')}), 1),
        ("warning", facts({"istiod": None}), 0),
        ("unknown", facts({"istiod": None}), 1),
        ("unknown", facts({"config": configured(capture='"false"')}), 1),
        ("unknown", facts(), 0),
        ("failed", broken(), 1),
    ],
)
def test_how_it_ends(
    fail_on: str, found: Facts, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding(monkeypatch, (found,))
    assert run(["check", "--fail-on", fail_on]) == code
    capsys.readouterr()


def test_of_one_remote(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = finding(monkeypatch, (facts(remote="west"),))
    assert run(["check", "west", "--probe", "-o", "json"]) == 0
    assert asked == [Asked(before=False, remote="west", probe=True)]
    items = json.loads(capsys.readouterr().out)["items"]
    assert {(one["group"], one["about"]) for one in items} == {("mesh", ""), ("remotes", "west")}


def test_a_remote_that_there_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    finding(monkeypatch, (facts(remote="south"),))
    assert run(["check", "south", "-o", "short"]) == 1
    assert capsys.readouterr().err == (
        "meshfed: south: there is no RemoteMesh of that name here; `meshfed remotes` lists those there are\n"
    )


@pytest.mark.parametrize("arguments", [["west", "--pre"], ["--pre", "--probe"], ["--wait", "soon"], ["-o", "wide"]])
def test_bad_usage(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    finding(monkeypatch, (facts(),))
    assert run(["check", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- waiting


def test_it_waits_until_nothing_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    connecting = facts(
        {"west": west(condition("Connected", False, "Connecting", "the first connection")), "ratings": None}
    )
    asked = finding(monkeypatch, (AWAY,), (connecting,), (connecting,), (facts(),))
    assert run(["check", "--wait", "1m", "-o", "short"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "waiting for north\nwaiting for connected west\n")
    assert len(asked) == 4


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = finding(monkeypatch, (broken(),))
    assert run(["check", "--wait", "500ms", "-o", "short"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (SHORT, "waiting for imports west\n")
    assert len(asked) > 1


# --- where it is printed to


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "import pytest\n"
        "from meshfed.cli.app import run\n"
        "from tests.cli.test_check import broken, finding\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    finding(patch, (*[broken()] * 40,))\n"
        "    sys.exit(run(['check']))\n"
    )
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root), *sys.path])
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {program} | head -1; exit ${{PIPESTATUS[0]}}"],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, TABLE.splitlines()[0] + "\n", "")


# --- a report


def test_a_report_is_asked_what_it_can_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = broken().snapshot
    file = tmp_path / "report.tgz"
    file.write_bytes(bundles.packed(bundles.files(told), moment=0.0))
    assert run(["check", "-f", str(file), "-o", "short"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "unknown mesh/version",
        "failed  remotes/imports west",
    ]
    assert run(["check", "west", "-f", str(file), "-o", "short"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1
    without = msgspec.structs.replace(told, objects=tuple(one for one in told.objects if one["kind"] != "Lease"))
    pods = msgspec.structs.replace(without, objects=tuple(one for one in without.objects if one["kind"] != "Pod"))
    file.write_bytes(bundles.packed(bundles.files(pods), moment=0.0))
    assert run(["check", "-f", str(file), "-o", "short"]) == 1
    assert "unknown mesh/controller: " in capsys.readouterr().out
    assert run(["check", "-f", str(file), "--probe"]) == 2
    assert run(["check", "-f", str(file), "--context", "east"]) == 2
    capsys.readouterr()
