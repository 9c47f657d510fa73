"""``meshfed plan --diff`` and ``--live``: what is printed of what a change would do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from meshfed.cli.app import run
from meshfed.cli.plan_output import LIMIT, markdown
from meshfed.kube import Manifest
from meshfed.plan import Settings, plan_all
from meshfed.plan.documents import read_documents
from meshfed.views.differences import LeftAlone, ObjectAction, ObjectChange
from meshfed.views.plan_diffs import PlanDiffView
from meshfed.views.snapshot import Snapshot, Unreached
from meshfed.views.traffic import TrafficChange, TrafficKind
from tests.builders import SYSTEM, federated_service, manifest, mesh_federation, namespace, remote_mesh, service
from tests.cli.fakes import holding, snapshot

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
WEST = remote_mesh("west", import_={"merge": True})
OBJECTS = [
    namespace("default"),
    mesh_federation("east"),
    WEST,
    service("reviews"),
    service("details", exported=True),
    federated_service("west", "ratings"),
    federated_service("west", "reviews"),
]
DENYING = remote_mesh(
    "west", import_={"merge": True, "rules": [{"action": "Deny", "hosts": ["reviews.*"]}, {"action": "Import"}]}
)
NO_MORE = service("details")


def settled(*objects: Manifest, **more: Any) -> Snapshot:
    """A cluster in which the controller has written all that it wants."""
    plain: list[Manifest] = msgspec.json.decode(msgspec.json.encode(list(objects)))
    inputs = read_documents((("test", one) for one in plain), SYSTEM, "istio")
    planned = msgspec.json.decode(msgspec.json.encode(plan_all(inputs, Settings(namespace=SYSTEM)).objects))
    own = [one for one in plain if one["kind"] != "FederatedService"]
    return snapshot(*own, *planned, **more)


def files(folder: Path, *objects: Manifest) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(yaml.safe_dump_all(msgspec.to_builtins(list(objects))))
    return str(folder)


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], None]:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate


def test_where_all_is_in_place_there_is_no_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, settled(*OBJECTS))
    assert run(["plan", "--live", "--diff"]) == 0
    assert capsys.readouterr() == ("Mesh east against east: no difference\n", "")


TEXT = """\
Mesh east against east: 0 objects to create, 1 to change, 1 to delete

Traffic
  1 Service is no longer exported to west
    details.default.svc.cluster.local
  1 host moves from both (local and west) to local
    reviews.default.svc.cluster.local

To change
  Gateway istio-system/federation-ingress-gateway

To delete
  WorkloadEntry default/reviews.default.svc.cluster.local.west.192.0.2.10
"""
DIFFS = """\

Change Gateway istio-system/federation-ingress-gateway
@@ -14,7 +14,6 @@
     app: federation-ingress-gateway
   servers:
   - hosts:
-    - details.default.svc.cluster.local
     - federation-discovery-service-east.istio-system.svc.cluster.local
     port:
       name: tls-passthrough

Delete WorkloadEntry default/reviews.default.svc.cluster.local.west.192.0.2.10
@@ -1,19 +0,0 @@
-apiVersion: networking.istio.io/v1
-kind: WorkloadEntry
-metadata:
-  annotations:
-    federation.openshift-service-mesh.io/derived-from: import reviews.default.svc.cluster.local
-  labels:
-    app.kubernetes.io/managed-by: meshfed
-    federation.openshift-service-mesh.io/owner: east
-    federation.openshift-service-mesh.io/owner-namespace: istio-system
-  name: reviews.default.svc.cluster.local.west.192.0.2.10
-  namespace: default
-spec:
-  address: 192.0.2.10
-  labels:
-    app: reviews
-    security.istio.io/tlsMode: istio
-  network: west-network
-  ports:
-    http: 15443
"""


def test_files_are_laid_over_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, settled(*OBJECTS))
    command = ["plan", "--live", "--diff", "-f", files(tmp_path, DENYING, NO_MORE)]
    assert run(command) == 1
    assert capsys.readouterr() == (TEXT + DIFFS, "")
    assert run([*command, "--summary"]) == 1
    assert capsys.readouterr() == (TEXT, "")
    assert max(map(len, TEXT.splitlines())) <= 80


MARKDOWN = """\
### Meshfed: mesh `east` against `old`

**0 objects to create, 1 to change, 0 to delete**

**Traffic**

- 1 Service is no longer exported to west: `details.default.svc.cluster.local`

**Objects**

<details><summary>Change <code>Gateway istio-system/federation-ingress-gateway</code></summary>

```diff
@@ -14,7 +14,6 @@
     app: federation-ingress-gateway
   servers:
   - hosts:
-    - details.default.svc.cluster.local
     - federation-discovery-service-east.istio-system.svc.cluster.local
     port:
       name: tls-passthrough
```

</details>
"""


def test_between_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path / "old", *OBJECTS)
    files(tmp_path / "new", *(NO_MORE if one["metadata"]["name"] == "details" else one for one in OBJECTS))
    assert run(["plan", "-f", "new", "--diff", "--against", "old", "-o", "markdown"]) == 1
    assert capsys.readouterr() == (MARKDOWN, "")
    assert run(["plan", "-f", "old", "--diff", "--against", "old", "-o", "markdown"]) == 0
    assert capsys.readouterr().out == "### Meshfed: mesh `east` against `old`\n\n**No difference**\n"


def test_what_remotes_offer_is_the_same_on_both_sides_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "offers.yaml").write_text(
        "[{host: a.b.svc.cluster.local, ports: [{name: http, number: 80, protocol: HTTP}]}]"
    )
    old = files(tmp_path / "old", mesh_federation("east"))
    new = files(tmp_path / "new", mesh_federation("east"), WEST)
    command = ["plan", "-f", new, "--diff", "--against", old, "--summary"]
    assert run(command) == 1
    out, err = capsys.readouterr()
    assert "Traffic" not in out
    assert err == "warning: nothing is known of what RemoteMesh west offers: give it with --remote west=FILE\n"
    assert run([*command, "--remote", f"west={tmp_path / 'offers.yaml'}"]) == 1
    out, err = capsys.readouterr()
    assert "  1 host is new, from west\n    a.b.svc.cluster.local\n" in out
    assert err == ""


def test_no_host_changes_its_gateway_because_another_one_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [service(f"s{number:03}", exported=True) for number in range(500)]
    old = files(tmp_path / "old", mesh_federation("east"), *many[1:])
    new = files(tmp_path / "new", mesh_federation("east"), *many)
    assert run(["plan", "-f", new, "--diff", "--against", old]) == 1
    out = capsys.readouterr().out
    assert "1 object to create, 0 to change, 0 to delete" in out
    assert "To create\n  Gateway istio-system/federation-ingress-gateway-2\n" in out


def test_what_a_remote_is_going_to_offer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "offers.yaml").write_text(
        "[{host: new.default.svc.cluster.local, ports: [{name: http, number: 80, protocol: HTTP}]}]"
    )
    holding(monkeypatch, settled(*OBJECTS))
    offers = f"west={tmp_path / 'offers.yaml'}"
    assert run(["plan", "--live", "--diff", "--summary", "--remote", offers]) == 1
    assert capsys.readouterr().out.split("\nTo ")[0].splitlines()[2:] == [
        "Traffic",
        "  1 host loses its last endpoint",
        "    ratings.default.svc.cluster.local",
        "  1 host moves from both (local and west) to local",
        "    reviews.default.svc.cluster.local",
        "  1 host is new, from west",
        "    new.default.svc.cluster.local",
    ]


def test_only_what_is_pruned_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, settled(*OBJECTS))
    command = ["plan", "--live", "--diff", "--summary", "-f", files(tmp_path, mesh_federation("east"))]
    assert run(command) == 0
    assert run([*command, "--prune"]) == 1
    out = capsys.readouterr().out
    assert "  1 host loses its last endpoint\n    ratings.default.svc.cluster.local\n" in out
    assert "To delete\n  FederatedService istio-system/ratings.default.svc.cluster.local.west\n" in out


def test_what_is_not_written_yet_is_a_difference_without_a_word_about_traffic(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = settled(*OBJECTS)
    lost = [one for one in whole.objects if one["kind"] != "ServiceEntry"]
    holding(monkeypatch, snapshot(*lost))
    assert run(["plan", "--live", "--diff", "--summary"]) == 1
    assert (
        capsys.readouterr().out
        == """\
Mesh east against east: 2 objects to create, 0 to change, 0 to delete

To create
  ServiceEntry istio-system/federation-discovery-service-west
  ServiceEntry istio-system/import.ratings.default.svc.cluster.local
"""
    )


def test_an_object_that_is_left_alone_is_said_and_no_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = settled(*OBJECTS)
    theirs = manifest("ServiceEntry", "import.ratings.default.svc.cluster.local", {"hosts": ["x.example"]})
    kept = [one for one in whole.objects if one["metadata"]["name"] != theirs["metadata"]["name"]]
    holding(monkeypatch, snapshot(*kept, theirs))
    assert run(["plan", "--live", "--diff"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "",
        "Left alone",
        "  ServiceEntry istio-system/import.ratings.default.svc.cluster.local",
        "    an object of that name is there, and it is not Meshfed's",
    ]


def test_the_metrics_port_is_the_one_that_is_in_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = settled(*OBJECTS)
    (guard,) = (one for one in whole.objects if one["kind"] == "PeerAuthentication")
    for ports in ({"9090": {"mode": "PERMISSIVE"}}, None):
        guard["spec"] |= {"portLevelMtls": ports}
        if ports is None:
            del guard["spec"]["portLevelMtls"]
        holding(monkeypatch, whole)
        assert run(["plan", "--live", "--diff"]) == 0
    assert run(["plan", "--live", "--diff", "--metrics-bind-address", ":8080"]) == 1
    capsys.readouterr()


def test_of_another_installation_nothing_is_touched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = settled(mesh_federation("other"), service("x", exported=True))
    theirs = [
        one | {"metadata": one["metadata"] | {"namespace": "other"}}
        for one in other.objects
        if one["kind"] in {"Gateway", "PeerAuthentication"}
    ]
    for one in theirs:
        one["metadata"]["labels"] |= {"federation.openshift-service-mesh.io/owner-namespace": "other"}
    here = settled(*OBJECTS)
    holding(monkeypatch, snapshot(*here.objects, *theirs))
    assert run(["plan", "--live", "--diff"]) == 0
    assert capsys.readouterr().out == "Mesh east against east: no difference\n"


def test_the_plan_for_a_live_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, settled(*OBJECTS))
    assert run(["plan", "--live"]) == 0
    live = capsys.readouterr().out
    assert run(["plan", "-f", files(tmp_path, *OBJECTS)]) == 0
    assert live == capsys.readouterr().out
    assert run(["plan", "--live", "--report"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["offered"] == {"west": ["details.default.svc.cluster.local"]}


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        (Unreached("east", "connection refused"), 3, "meshfed: east: not reached: connection refused\n"),
        (
            settled(*OBJECTS, unread={"Service": "you may not list services"}),
            3,
            "meshfed: east: you may not list services: a plan without that would take what is there for gone\n",
        ),
    ],
)
def test_what_cannot_be_seen(
    found: Snapshot | Unreached,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    holding(monkeypatch, found)
    assert run(["plan", "--live", "--diff"]) == code
    assert capsys.readouterr().err == says


def test_a_controller_that_reads_no_pods_is_planned_for_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, settled(*OBJECTS, unread={"Pod": "you may not list pods"}))
    assert run(["plan", "--live", "--diff"]) == 3
    assert "give --no-read-pods" in capsys.readouterr().err
    # Beside a local Service of whose pods nobody knows, west has to say who serves reviews.
    holding(monkeypatch, settled(*OBJECTS))
    assert run(["plan", "--live", "--diff", "--summary", "--no-read-pods"]) == 1
    assert "WorkloadEntry default/reviews" in capsys.readouterr().out


def test_an_object_of_the_cluster_that_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever follows from it, nobody can say; it would count as gone."""
    odd = remote_mesh("west", fromTheFuture=True)
    holding(monkeypatch, snapshot(*settled(*OBJECTS[:2]).objects, odd))
    assert run(["plan", "--live", "--diff"]) == 2
    out, err = capsys.readouterr()
    assert (out, "east: RemoteMesh istio-system/west: spec.fromTheFuture" in err) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--live", "--diff", "--against", "old"], "--diff takes one of --live"),
        (["-f", "new", "--diff"], "--diff takes one of --live"),
        (["-f", "new", "--against", "old"], "--against goes with --diff"),
        (["-f", "new", "--summary"], "--summary goes with --diff"),
        (["-f", "new", "-o", "markdown"], "--output markdown goes with --diff"),
        (["-f", "new", "--prune"], "--prune goes with --live and -f"),
        (["--live", "--prune"], "--prune goes with --live and -f"),
        (["--live", "--diff", "--report"], "--report and --diff are two ways to say it: give one of them"),
        (["--live", "--context", "east", "--context", "west"], "--context west: a plan is for one cluster"),
        (["-f", "new", "--diff", "--against", "nowhere"], "--against nowhere: No such file or directory"),
    ],
)
def test_flags_that_make_no_sense_together(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path / "new", *OBJECTS)
    assert run(["plan", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, says in err) == ("", True), err


def test_documents_meet_their_schema(
    tmp_path: Path,
    validate: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    holding(monkeypatch, settled(*OBJECTS))
    command = ["plan", "--live", "--diff", "-f", files(tmp_path, DENYING, NO_MORE)]
    assert run([*command, "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert (document["kind"], document["differs"], document["deletes"]) == ("PlanDiff", True, 1)
    assert run([*command, "-o", "yaml"]) == 1
    assert yaml.safe_load(capsys.readouterr().out) == document
    with pytest.raises(jsonschema_rs.ValidationError):
        validate({"apiVersion": document["apiVersion"], "kind": "PlanDiff"})


def large(objects: int, lines: int, text: str = "+x") -> PlanDiffView:
    diff = "\n".join([text] * lines)
    return PlanDiffView(
        mesh="east",
        namespace=SYSTEM,
        against="old",
        differs=True,
        creates=objects,
        changes=0,
        deletes=0,
        traffic=tuple(
            TrafficChange(TrafficKind.NEW, f"{n} hosts are new, from west", tuple(f"h{i}" for i in range(50)))
            for n in range(objects)
        ),
        objects=tuple(ObjectChange(ObjectAction.CREATE, "Gateway", SYSTEM, f"g{n}", diff) for n in range(objects)),
        left=(LeftAlone("Gateway", SYSTEM, "theirs", "it is not Meshfed's"),),
        warnings=("<b>`x`</b>",),
    )


@pytest.mark.parametrize(("objects", "lines"), [(3, 10), (3, 30_000), (10_000, 5), (500, 200)])
def test_a_comment_has_room_for_it(objects: int, lines: int) -> None:
    page = markdown(large(objects, lines))
    assert len(page) <= LIMIT
    assert page.count("<details>") == page.count("</details>")
    assert page.count("```") % 2 == 0
    shown = page.count("- Create `Gateway") + page.count("<summary>Create")
    left = [int(line.split()[2]) for line in page.splitlines() if line.startswith("- and ")]
    assert shown + (left[-1] if page.splitlines()[-1].startswith("- and ") else 0) == objects
    assert "- `` <b>`x`</b> ``\n" in page
    assert "and 40 more" in page


def test_what_strangers_wrote_breaks_out_of_no_fence() -> None:
    page = markdown(large(1, 1, "+ ```\x1b[2J"))
    assert "````diff\n+ ```\\x1b[2J\n````\n" in page


@pytest.mark.parametrize(("into", "code"), [("/dev/full", 1), ("| true", 0)])
def test_output_that_goes_nowhere(into: str, code: int, tmp_path: Path) -> None:
    old, new = files(tmp_path / "old", mesh_federation("east")), files(tmp_path / "new", *OBJECTS)
    where = into if into.startswith("|") else f"> {into}"
    line = f"{sys.executable} -m meshfed plan -f {new} --diff --against {old} {where}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    said = "meshfed: standard output: No space left on device; what was printed is not complete\n"
    assert (done.returncode, done.stderr) == ((1, said) if code else (done.returncode, ""))
    assert done.returncode in {0, 1}
