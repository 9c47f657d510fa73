"""The manifests of the recipes do what the page says of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import pytest
import yaml

from meshfed.kube import Manifest
from meshfed.plan import ExportKey
from tests.builders import federated_service, host, mesh_federation, pod, remote_mesh, service
from tests.guides.readers import ROOT
from tests.world import World

ACCOUNT = "spiffe://cluster.local/ns/{}/sa/{}"


@functools.cache
def recipes() -> dict[str, str]:
    """The sections of the page, by title."""
    _, *parts = re.split(r"^## (.*)\n", (ROOT / "docs" / "recipes.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def manifests(recipe: str) -> Iterator[Manifest]:
    """The objects of a recipe."""
    for text in re.findall(r"^```yaml\n(.*?)^```$", recipes()[recipe], re.MULTILINE | re.DOTALL):
        yield from yaml.safe_load_all(text)


def exported(world: World, namespace: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The host of an export, and who is announced to answer for it."""
    world.settle()
    found = world.outputs[ExportKey(namespace, name)].export
    assert found is not None
    return found.offer.host, found.offer.identities


def test_a_virtual_machine() -> None:
    world = World(mesh_federation(), *manifests("A virtual machine"))
    assert exported(world, "shop", "catalog") == (host("catalog.shop"), (ACCOUNT.format("shop", "catalog"),))
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


def test_pods_of_a_stateful_set() -> None:
    labels = {"app": "db", "statefulset.kubernetes.io/pod-name": "db-0"}
    other = labels | {"statefulset.kubernetes.io/pod-name": "db-1"}
    world = World(
        mesh_federation(),
        *manifests("Pods of a StatefulSet"),
        service("db.shop", exported=True, clusterIP="None", selector={"app": "db"}),
        pod("db-0.shop", labels=labels, account="db-0"),
        pod("db-1.shop", labels=other, account="db-1"),
    )
    both = tuple(ACCOUNT.format("shop", f"db-{number}") for number in (0, 1))
    assert exported(world, "shop", "db-0") == (host("db-0.shop"), both[:1])
    assert exported(world, "shop", "db") == (host("db.shop"), both), "headless, and exported as any other"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({"served-by": "other-meshes"}, "True Accepted", id="as shown"),
        pytest.param({}, "False LocalServiceUnusable", id="without a selector"),
    ],
)
def test_clients_without_dns_capture(selector: dict[str, str], expected: str) -> None:
    stub, remote = manifests("Clients without DNS capture")
    stub["spec"]["selector"] = selector
    who = ACCOUNT.format("bookinfo", "ratings")
    offered = federated_service("west", "ratings.bookinfo", identities=[who])
    other = federated_service("west", "reviews.bookinfo")
    world = World(mesh_federation(), stub, remote, offered, other)
    record = offered["metadata"]["name"]
    assert world.conditions("FederatedService", record)["Accepted"] == expected
    kinds = {name.partition(" ")[0] for name in world.manifests if host("ratings.bookinfo") in name}
    assert kinds == ({"WorkloadEntry"} if selector else set())
    assert world.conditions("FederatedService", other["metadata"]["name"])["Accepted"] == "True Accepted"


def test_clients_with_a_sidecar_object() -> None:
    """The page names where the ServiceEntry of an import is."""
    offered = federated_service("west", "ratings.bookinfo")
    world = World(mesh_federation(), remote_mesh("west", addresses=["192.0.2.20"]), offered)
    world.settle()
    found = [one for outputs in world.outputs.values() for one in outputs.objects]
    (entry,) = [one for one in found if host("ratings.bookinfo") in one["spec"].get("hosts", ())]
    listed = f'"{entry["metadata"]["namespace"]}/{entry["spec"]["hosts"][0]}"'
    assert listed in recipes()["Clients with a Sidecar object"]


def test_a_share_for_a_remote_is_divided_by_the_locality_that_endpoints_have() -> None:
    (rule,) = manifests("A share for a remote")
    (share,) = rule["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"]["distribute"]
    assert sum(share["to"].values()) == 100
    remote = remote_mesh("west", locality="us-west1/a", addresses=["192.0.2.20"], import_={"merge": True})
    offered = federated_service("west", "reviews.bookinfo", identities=[ACCOUNT.format("bookinfo", "reviews")])
    world = World(mesh_federation(), service("reviews.bookinfo"), remote, offered)
    (entry,) = [spec for name, spec in world.manifests.items() if name.startswith("WorkloadEntry ")]
    assert f"{entry['locality'].partition('/')[0]}/*" in share["to"]
