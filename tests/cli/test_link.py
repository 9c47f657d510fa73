"""``meshfed link`` and ``meshfed unlink``: what is printed and refused, and what becomes of it in real clusters."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from meshfed.cli.app import run
from meshfed.views.snapshot import Unreached
from meshfed_sandbox.dataplane.trust import Trust
from tests.builders import (
    GATEWAY,
    RESOURCES,
    SYSTEM,
    config_map,
    manifest,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.cli.fakes import holding, imported, snapshot
from tests.cli.test_lists import SCHEMA
from tests.controller.meshes import Mesh, federated, meshes, synced
from tests.views.test_cards import CARD, card
from tests.waiting import eventually

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
GATEWAY_SERVICE = service(
    f"gateway.{SYSTEM}", selector=GATEWAY, ports=[port(15443, "tls-passthrough")], externalIPs=["192.0.2.10"]
)
DEPLOYMENT = manifest(
    "Deployment",
    "federation-controller",
    {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "federation-controller"}},
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "federation-controller"}},
            "spec": {
                "serviceAccountName": "federation-controller-east",
                "containers": [{"name": "controller", "image": "meshfed"}],
            },
        },
    },
    labels={"app.kubernetes.io/name": "federation-controller"},
)
CONFIG = config_map("istio", namespace=SYSTEM, mesh="trustDomainAliases: [old.example]\n")
EAST = (mesh_federation("east"), GATEWAY_SERVICE, DEPLOYMENT, CONFIG)
EAST_CARD = """\
apiVersion: cli.federation.openshift-service-mesh.io/v1alpha1
kind: MeshCard
name: east
addresses:
- 192.0.2.10
port: 15443
network: east-network
ingressType: istio
trustDomain: cluster.local
clusterDomain: cluster.local
identity: spiffe://cluster.local/ns/istio-system/sa/federation-controller-east
discovery:
  namespace: istio-system
  port: 15080
trustDomainAliases:
- old.example
"""


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], None]:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate


@pytest.fixture
def west(tmp_path: Path) -> str:
    """The file with west's card."""
    path = tmp_path / "west.yaml"
    path.write_text(card())
    return str(path)


# --- the card


def test_a_card_is_printed(monkeypatch: Patch, capsys: Capture, validate: Callable[[Any], None]) -> None:
    holding(monkeypatch, snapshot(*EAST))
    assert run(["link", "card"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (
        EAST_CARD,
        "warning: the card has no root: there is none in ConfigMap istio-system/istio-ca-root-cert\n",
    )
    assert run(["link", "card", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert document == yaml.safe_load(EAST_CARD)


def test_a_card_has_the_roots_that_the_mesh_trusts(monkeypatch: Patch, capsys: Capture) -> None:
    pem = "".join(Trust({"east": "cluster.local"}).bundles("east").values())
    bundle = config_map("istio-ca-root-cert", namespace=SYSTEM, **{"root-cert.pem": pem})
    holding(monkeypatch, snapshot(*EAST, bundle))
    assert run(["link", "card"]) == 0
    out, err = capsys.readouterr()
    (root,) = yaml.safe_load(out)["roots"]
    assert (len(root["sha256"]), err) == (64, "")
    assert "PRIVATE" not in out


def test_what_is_not_seen_can_be_said(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, snapshot(mesh_federation("east")))
    assert run(["link", "card"]) == 1
    assert capsys.readouterr().err.endswith("is not seen in namespace istio-system: say it by --service-account\n")
    assert run(["link", "card", "--service-account", "c"]) == 1
    assert capsys.readouterr().err.endswith("selects app=federation-ingress-gateway; say it by --address HOST[:PORT]\n")
    said = ["--address", "gateway.example:443", "--address", "192.0.2.1"]
    assert run(["link", "card", "--service-account", "c", *said]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["addresses"] == ["gateway.example:443", "192.0.2.1"]
    assert found["identity"] == "spiffe://cluster.local/ns/istio-system/sa/c"
    assert run(["link", "card", "--service-account", "c", "--address", "https://x"]) == 2
    assert "spec.addresses[0]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (
            snapshot(DEPLOYMENT),
            1,
            "there is no MeshFederation in namespace istio-system: name another with --namespace",
        ),
        (Unreached("east", "connection refused"), 3, "east: not reached: connection refused"),
    ],
)
def test_a_card_of_nothing(found: Any, code: int, said: str, monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, found)
    assert run(["link", "card"]) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"meshfed: {said}"


def test_a_trust_domain_that_nobody_has_is_warned_of(monkeypatch: Patch, capsys: Capture) -> None:
    other = config_map("istio", namespace=SYSTEM, mesh="trustDomain: other.example\n")
    holding(monkeypatch, snapshot(mesh_federation("east"), GATEWAY_SERVICE, DEPLOYMENT, other))
    run(["link", "card"])
    assert "warning: `spec.trustDomain` is cluster.local, and `trustDomain` in ConfigMap" in capsys.readouterr().err


# --- the RemoteMesh


def test_a_remote_mesh_is_printed_as_it_can_be_committed(west: str, monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, snapshot(*EAST))
    assert run(["link", "-f", west]) == 0
    out, err = capsys.readouterr()
    assert "  import: {}" in out.splitlines()
    printed = yaml.safe_load(out)
    assert printed["spec"]["addresses"] == CARD["addresses"]
    assert [line[:40] for line in err.splitlines()] == [
        "warning: roots are not compared: those o",
        "warning: its trust domain is west.exampl",
    ]
    assert run(["link", "-f", west, "--merge", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["import"] == {"merge": True}
    assert run(["link", "-f", west, "--publish-only"]) == 0
    assert "import" not in yaml.safe_load(capsys.readouterr().out)["spec"]


def test_a_card_from_standard_input(monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, snapshot(*EAST))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(CARD).encode())))
    assert run(["link", "-"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["metadata"]["name"] == "west"


@pytest.mark.parametrize(
    ("text", "objects", "code", "said"),
    [
        (card(name="east"), EAST, 1, "in the way of RemoteMesh east: NameConflict: "),
        (card(network="east-network"), EAST, 1, "in the way of RemoteMesh west: NameConflict: "),
        (
            card(trustDomain="cluster.local", identity=yaml.safe_load(EAST_CARD)["identity"]),
            EAST,
            1,
            "in the way of RemoteMesh west: IdentityAmbiguous: ",
        ),
        (card(), (), 1, "in the way of RemoteMesh west: NoMeshFederation: "),
        (card(port=0), EAST, 2, "{file}: port: Expected `int` >= 1"),
        (card(network="\x1b]0;gone\x07"), EAST, 2, "{file}: network: Expected `str` matching regex"),
        ("\x1b[2J: [", EAST, 2, "{file}: not YAML"),
        (card(**{"\x1b[2J": 1, "name": "east"}), EAST, 1, "in the way of RemoteMesh east"),
    ],
)
def test_what_is_refused(  # noqa: PLR0917 - the cases, and fixtures
    text: str, objects: tuple[Any, ...], code: int, said: str, tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    holding(monkeypatch, snapshot(*objects))
    path = tmp_path / "card.yaml"
    path.write_text(text)
    assert run(["link", "-f", str(path), "--apply"]) == code
    out, err = capsys.readouterr()
    assert (out, "\x1b" in err) == ("", False)
    assert err.splitlines()[-1].startswith("meshfed: " + said.format(file=path))


@pytest.mark.parametrize("named", [[], ["a.yaml", "-f", "b.yaml"]], ids=["none", "two"])
def test_it_takes_one_card(named: list[str], capsys: Capture) -> None:
    assert run(["link", *named]) == 2
    assert capsys.readouterr().err.startswith("meshfed: name one card, as `meshfed link CARD` or with -f")


def test_a_dry_run_says_what_would_be_applied(west: str, monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, snapshot(*EAST))
    assert run(["link", west, "--apply", "--dry-run", "client"]) == 0
    out, err = capsys.readouterr()
    assert out == "remotemesh.federation.openshift-service-mesh.io/west applied (dry run)\n"
    assert [line for line in err.splitlines() if "it would" in line] == [
        "it would make RemoteMesh west: network: west-network",
        "it would make RemoteMesh west: addresses: 192.0.2.20:15443",
        "it would make RemoteMesh west: ingressType: istio",
        "it would make RemoteMesh west: trustDomain: west.example",
        "it would make RemoteMesh west: clusterDomain: cluster.local",
        f"it would make RemoteMesh west: identity: {CARD['identity']}",
        "it would make RemoteMesh west: discovery.namespace: istio-system",
        "it would make RemoteMesh west: discovery.port: 15080",
        "it would make RemoteMesh west: import: {}",
    ]


def test_a_dry_run_says_what_would_change_and_asks_nobody(west: str, monkeypatch: Patch, capsys: Capture) -> None:
    there = remote_mesh("west", trustDomain="west.example", identity=CARD["identity"], import_={"limit": 7})
    holding(monkeypatch, snapshot(*EAST, there))
    assert run(["link", west, "--merge", "--dry-run", "client", "-o", "yaml"]) == 0
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["spec"]["import"] == {"limit": 7, "merge": True}
    assert [line for line in err.splitlines() if "it would" in line] == [
        "it would change RemoteMesh west: addresses: from 192.0.2.10:15443 to 192.0.2.20:15443",
        'it would change RemoteMesh west: import: from {"limit":7} to {"merge":true,"limit":7}',
    ]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    assert run(["link", "-f", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"meshfed: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(
    "flags",
    [
        ["--merge", "--publish-only"],
        ["--diff", "--apply"],
        ["--diff", "--import"],
        ["--wait"],
        ["-o", "table"],
        ["--apply", "-o", "json"],
        ["--dry-run", "client", "-o", "table"],
        ["--dry-run", "client", "--diff"],
        ["--dry-run", "server", "--apply", "--wait"],
    ],
)
def test_what_makes_no_sense_together(flags: list[str], west: str, capsys: Capture) -> None:
    assert run(["link", "-f", west, *flags]) == 2
    assert capsys.readouterr().err.startswith("meshfed: --")


def test_nothing_is_changed_that_nobody_confirmed(west: str, monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, snapshot(*EAST, remote_mesh("west", trustDomain="west.example")))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(["link", "-f", west, "--apply"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert "it changes RemoteMesh west: addresses from 192.0.2.10:15443 to 192.0.2.20:15443" in err
    assert err[-1] == "meshfed: nobody is there to confirm that RemoteMesh west changes: give --yes"


def test_one_that_is_being_deleted_is_left_alone(west: str, monkeypatch: Patch, capsys: Capture) -> None:
    holding(monkeypatch, snapshot(*EAST, remote_mesh("west", deleted="2026-01-01T00:00:00Z")))
    assert run(["link", "-f", west, "--apply", "--yes"]) == 1
    assert capsys.readouterr().err == "meshfed: RemoteMesh west is being deleted: wait until it is gone\n"


@pytest.mark.parametrize("flags", [[], ["--diff"]])
def test_where_remotes_may_not_be_seen_nothing_is_said_of_them(
    flags: list[str], west: str, monkeypatch: Patch, capsys: Capture
) -> None:
    holding(monkeypatch, snapshot(*EAST, unread={"RemoteMesh": "you may not list remotemeshes"}))
    assert run(["link", "-f", west, *flags]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("not seen: you may not list remotemeshes\nmeshfed: nothing is compared")


# --- drift


def test_drift_between_a_card_and_a_remote_mesh(
    west: str, validate: Callable[[Any], None], monkeypatch: Patch, capsys: Capture
) -> None:
    holding(monkeypatch, snapshot(*EAST, remote_mesh("west", trustDomain="west.example", port=443)))
    assert run(["link", "--diff", "-f", west]) == 1
    assert (
        capsys.readouterr().out
        == """\
FIELD       CARD               REMOTEMESH
addresses   192.0.2.20:15443   192.0.2.10:443
"""
    )
    assert run(["link", "--diff", "-f", west, "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert [one["field"] for one in document["items"]] == ["addresses"]
    holding(
        monkeypatch, snapshot(*EAST, remote_mesh("west", trustDomain="west.example", addresses=["192.0.2.20:15443"]))
    )
    assert run(["link", "--diff", "-f", west]) == 0
    assert capsys.readouterr() == ("", "RemoteMesh west is as the card says\n")
    holding(monkeypatch, snapshot(*EAST))
    assert run(["link", "--diff", "-f", west]) == 1
    assert "there is no RemoteMesh west in namespace istio-system" in capsys.readouterr().err


# --- unlink

SERVICES = [namespace("default"), service("ratings", exported=True), pod("ratings-1", "ratings")]


def test_what_goes_is_said_before_anything_goes(
    validate: Callable[[Any], None], monkeypatch: Patch, capsys: Capture
) -> None:
    record = json.loads(json.dumps(imported("west", "ratings")))
    here = snapshot(namespace("default"), mesh_federation("east"), remote_mesh("west"), record)
    holding(monkeypatch, here)
    assert run(["unlink", "west", "--dry-run"]) == 0
    assert capsys.readouterr() == (
        """\
HOST                                AFTER   SERVED BY
ratings.default.svc.cluster.local   Gone    -
""",
        "1 host goes; 3 objects are deleted\n",
    )
    assert run(["unlink", "west", "--dry-run", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert document["items"][0]["after"] == "Gone"
    assert run(["unlink", "north", "--dry-run"]) == 1
    assert capsys.readouterr().err == "meshfed: there is no RemoteMesh north in namespace istio-system\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(["unlink", "west"]) == 2
    assert "nobody is there to confirm" in capsys.readouterr().err


# --- in real clusters


def kubeconfig(mesh: Mesh, folder: Path) -> str:
    path = folder / f"{mesh.name}.kubeconfig"
    cluster = {"name": mesh.name, "cluster": {"server": mesh.server.url}}
    context = {"name": mesh.name, "context": {"cluster": mesh.name, "user": mesh.name}}
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": mesh.name, "user": {}}],
        "current-context": mesh.name,
    }
    path.write_text(yaml.safe_dump(whole))
    return str(path)


async def meshfed(mesh: Mesh, folder: Path, *arguments: str) -> int:
    """Run a command of ours beside the controllers of the test."""
    return await asyncio.to_thread(run, [*arguments, "--kubeconfig", kubeconfig(mesh, folder)])


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Mesh, Mesh]]:
    """Two meshes that know nothing of each other, each with a gateway, and west with a card."""
    async with meshes("east", "west") as (east, west):
        for mesh in (east, west):
            account = DEPLOYMENT["spec"]["template"]["spec"] | {"serviceAccountName": f"controller-{mesh.name}"}
            template = DEPLOYMENT["spec"]["template"] | {"spec": account}
            await mesh.apply(
                *SERVICES,
                mesh_federation(mesh.name),
                GATEWAY_SERVICE,
                DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"template": template}},
            )
        yield east, west


async def test_two_owners_federate_by_cards(tmp_path: Path, capsys: Capture) -> None:
    async with two() as (east, west):
        for mesh in (east, west):
            await mesh.start()
        assert await meshfed(west, tmp_path, "link", "card") == 0
        file = tmp_path / "west.yaml"
        file.write_text(capsys.readouterr().out)
        waiting = asyncio.create_task(
            meshfed(east, tmp_path, "link", "-f", str(file), "--merge", "--apply", "--wait", "--timeout", "60s")
        )
        await eventually(lambda: "west" in east.all("RemoteMesh"))
        # There is no gateway between these two: discovery is on the loopback.
        loopback = {"spec": {"discovery": {"address": f"127.0.0.1:{west.discovery_port}"}}}
        await east.patch("RemoteMesh", "west", loopback)
        assert await waiting == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[0] == "remotemesh.federation.openshift-service-mesh.io/west applied"
        assert out.splitlines()[1].startswith("Ready: ")
        assert "waiting: " in err
        managers = [one["manager"] for one in east.all("RemoteMesh")["west"]["metadata"]["managedFields"]]
        assert "meshfed-link" in managers
        assert east.all("RemoteMesh")["west"]["spec"]["import"]["merge"] is True

        assert await meshfed(east, tmp_path, "link", "--diff", "-f", str(file)) == 0
        # A second time it takes nothing away that another has set.
        assert await meshfed(east, tmp_path, "link", "-f", str(file), "--apply") == 0
        spec = east.all("RemoteMesh")["west"]["spec"]
        assert spec["discovery"]["address"] == loopback["spec"]["discovery"]["address"]
        assert spec["import"]["merge"] is True


async def test_where_it_is_not_reached_the_condition_says_why(tmp_path: Path, capsys: Capture) -> None:
    async with two() as (east, _):
        await east.start()
        file = tmp_path / "west.yaml"
        file.write_text(card())
        assert await meshfed(east, tmp_path, "link", "-f", str(file), "--apply") == 0
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready")[0] == "False")
        again = ("link", "-f", str(file), "--apply", "--wait", "--timeout", "2s")
        assert await meshfed(east, tmp_path, *again) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("meshfed: after 2 s RemoteMesh west is not reached: Ready False ")


async def test_a_field_that_another_manages_is_left_to_them(tmp_path: Path, capsys: Capture) -> None:
    async with two() as (east, _):
        there = remote_mesh("west", trustDomain="west.example", port=443)
        await east.apply(there)
        file = tmp_path / "west.yaml"
        file.write_text(card())
        assert await meshfed(east, tmp_path, "link", "-f", str(file), "--apply", "--yes") == 1
        assert "conflict" in capsys.readouterr().err
        assert east.all("RemoteMesh")["west"]["spec"]["port"] == 443


async def test_a_dry_run_of_the_server_stores_nothing_and_has_its_say(tmp_path: Path, capsys: Capture) -> None:
    async with two() as (east, _):
        file = tmp_path / "west.yaml"
        file.write_text(card())
        assert await meshfed(east, tmp_path, "link", str(file), "--apply", "--dry-run", "server") == 0
        out = capsys.readouterr().out
        assert out == "remotemesh.federation.openshift-service-mesh.io/west applied (server dry run)\n"
        assert await meshfed(east, tmp_path, "link", str(file), "--dry-run", "server", "-o", "json") == 0
        assert json.loads(capsys.readouterr().out)["metadata"]["managedFields"][0]["manager"] == "meshfed-link"
        assert east.all("RemoteMesh") == {}
        await east.apply(remote_mesh("west", trustDomain="west.example", port=443))
        assert await meshfed(east, tmp_path, "link", str(file), "--dry-run", "server") == 1
        assert "conflict" in capsys.readouterr().err


async def test_an_address_that_the_card_has_no_more_goes(tmp_path: Path, capsys: Capture) -> None:
    async with two() as (east, _):
        file = tmp_path / "west.yaml"
        file.write_text(card())
        assert await meshfed(east, tmp_path, "link", "-f", str(file), "--apply") == 0
        file.write_text(card(addresses=["192.0.2.99"]))
        assert await meshfed(east, tmp_path, "link", "-f", str(file), "--apply", "--yes") == 0
        assert east.all("RemoteMesh")["west"]["spec"]["addresses"] == ["192.0.2.99"]
        assert "it changes RemoteMesh west: addresses from" in capsys.readouterr().err


async def test_what_another_keeps_in_it_is_said(tmp_path: Path, capsys: Capture) -> None:
    async with two() as (east, _):
        await east.apply(remote_mesh("west", trustDomain="west.example"))
        file = tmp_path / "west.yaml"
        file.write_text(card())
        assert await meshfed(east, tmp_path, "link", "-f", str(file), "--apply", "--yes", "--publish-only") == 1
        assert capsys.readouterr().err.splitlines()[-1] == (
            "meshfed: RemoteMesh west still has import and addresses 192.0.2.10, which somebody else has set: "
            "remove it there"
        )


async def test_unlinking_does_what_it_said(tmp_path: Path, capsys: Capture) -> None:
    shared = [namespace("default"), service("reviews", exported=True), pod("reviews-1", "reviews")]
    only = [service("ratings", exported=True), pod("ratings-1", "ratings")]
    empty = [service("details", exported=True), pod("details-1", "details")]
    served = {
        "east": [namespace("default"), service("reviews"), pod("reviews-1", "reviews"), service("details")],
        "west": [*shared, *only, *empty],
        "north": [*shared],
    }
    async with federated("east", "west", "north", services=served) as (east, west, north):
        await synced(east, west, north)
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await east.client.patch_status(RESOURCES["Pod"], "reviews-1", ready, namespace="default")
        await eventually(lambda: len(east.all("FederatedService")) == 4)
        await eventually(lambda: len(east.merged()) >= 3)
        assert await meshfed(east, tmp_path, "unlink", "west", "--dry-run", "-o", "json") == 0
        found = json.loads(capsys.readouterr().out)["items"]
        said = {one["host"].partition(".")[0]: (one["after"], one["servedBy"]) for one in found}
        assert said == {
            "ratings": ("Gone", []),
            "details": ("Empty", []),
            "reviews": ("Served", ["Service default/reviews", "RemoteMesh north"]),
        }
        assert "west" in east.all("RemoteMesh")

        assert await meshfed(east, tmp_path, "unlink", "west", "--yes") == 0
        assert capsys.readouterr().err.splitlines()[-1] == "RemoteMesh west is gone, and what it caused"
        assert "west" not in east.all("RemoteMesh")
        assert east.imported() == []  # ratings is gone
        assert east.merged() == [("default", "reviews")]  # of north; details has nothing any more
        assert [one["spec"]["remote"] for one in east.all("FederatedService").values()] == ["north"]


async def test_where_no_controller_runs_it_says_what_remains(tmp_path: Path, capsys: Capture) -> None:
    async with federated("east", "west", services={"west": SERVICES}) as (east, _):
        await eventually(east.imported)
        await east.stop()
        assert await meshfed(east, tmp_path, "unlink", "west", "--yes", "--timeout", "2s") == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("meshfed: after 2 s something remains: 1 FederatedServices, RemoteMesh west (finalizer ")
        assert await meshfed(east, tmp_path, "unlink", "west", "--yes", "--no-wait") == 0


@pytest.mark.parametrize("kind", ["RemoteMesh", "MeshFederation", "FederatedService"])
def test_nothing_is_deleted_where_nobody_knows_what_goes_with_it(
    kind: str, monkeypatch: Patch, capsys: Capture
) -> None:
    found = (mesh_federation("east"), remote_mesh("west"))
    kept = [one for one in found if one["kind"] != kind]
    holding(monkeypatch, snapshot(*kept, unread={kind: f"you may not list {kind}"}))
    assert run(["unlink", "west", "--yes"]) == 1
    assert f"{kind}s cannot be seen" in capsys.readouterr().err
