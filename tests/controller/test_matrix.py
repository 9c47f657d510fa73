"""Whatever happens, in whatever order: the cluster ends up as `meshfed plan` of the same inputs says.

More walks than the few that always run: ``MESHFED_WALKS=200`` (seeds from 1000 on), or ``MESHFED_WALKS=17-25`` for
these seeds. A failure prints the walk up to there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from meshfed.api.v1alpha1 import OWNER_LABEL
from meshfed.federation import gateway_shards
from meshfed.kube import Manifest
from tests.builders import SYSTEM, namespace
from tests.controller.meshes import Mesh, istio_config, meshes
from tests.controller.plans import as_planned, contents
from tests.controller.remotes import Remote, remotes
from tests.controller.walks import (
    DNS,
    NAMESPACES,
    REMOTES,
    Announce,
    Blink,
    Delete,
    Meddle,
    Put,
    Restart,
    Step,
    Withdraw,
    walk,
)
from tests.waiting import eventually

LENGTH = 60
TOGETHER = 3
"""Steps between two looks."""


def seeds() -> Sequence[int]:
    """Which walks to take."""
    asked = os.environ.get("MESHFED_WALKS", "")
    first, dash, last = asked.partition("-")
    if dash:
        return range(int(first), int(last) + 1)
    return [*range(1, 9), *range(1000, 1000 + int(asked or 0))]


@pytest.mark.parametrize("seed", seeds())
async def test_the_cluster_is_as_planned_whatever_happened(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_shards, "HOSTS_PER_GATEWAY", 3)
    await take(walk(seed, LENGTH))


async def take(steps: Sequence[Step]) -> None:
    """Take every step, and look after every few."""
    async with meshes("east") as (east,), remotes(*REMOTES) as found:
        others = {remote.name: remote for remote in found}
        east.dns = dict(DNS)
        for name, labels in NAMESPACES.items():
            created = namespace(name)
            created["metadata"]["labels"] = labels
            await east.apply(created)
        await east.apply(istio_config("mesh-system"))
        await east.start()
        for number, step in enumerate(steps, start=1):
            await carry_out(step, east, others)
            if number % TOGETHER == 0 or number == len(steps):
                taken = steps[:number]
                try:
                    await as_planned(east, *heard(east, others), within=15)
                    assert len(set(east.exported())) == len(east.exported()), "a host stands in two Gateways"
                except AssertionError as error:
                    raise AssertionError("\n".join([*map(str, taken), str(error)])) from None


async def carry_out(step: Step, east: Mesh, others: dict[str, Remote]) -> None:
    match step:
        case Put(manifest):
            manifest = dialled(manifest, others)
            await make_way(east, manifest)
            await east.apply(manifest)
        case Delete(kind, in_namespace, name):
            await east.delete(kind, name, namespace=in_namespace)
        case Announce(remote, offer):
            others[remote].offer(offer)
        case Withdraw(remote, host):
            if host in others[remote].offers:
                others[remote].withdraw(host)
        case Blink(remote):
            await others[remote].stop()
            await others[remote].start()
        case Meddle(number, delete):
            await meddle(east, number, delete=delete)
        case Restart():
            await east.stop()
            await east.start()


async def meddle(east: Mesh, number: int, *, delete: bool) -> None:
    """Do what people do to objects that they did not write."""
    written = sorted(contents(east))
    if not written:
        return
    kind, in_namespace, name = written[number % len(written)]
    if delete:
        await east.delete(kind, name, namespace=in_namespace)
    elif kind != "FederatedService":  # it would be refused: the schema takes nothing that is not ours
        await east.patch(kind, name, {"metadata": {"labels": {OWNER_LABEL: "me"}}}, namespace=in_namespace)


def dialled(manifest: Manifest, others: dict[str, Remote]) -> Manifest:
    """Say where a remote's discovery service is."""
    discovery = manifest["spec"].get("discovery", {}) if manifest["kind"] == "RemoteMesh" else {}
    if "address" not in discovery:
        return manifest
    found = discovery | {"address": f"127.0.0.1:{others[manifest['metadata']['name']].port}"}
    return manifest | {"spec": manifest["spec"] | {"discovery": found}}


async def make_way(east: Mesh, manifest: Manifest) -> None:
    """Make room for an object, as a person would have to: what is terminating has left, no Service changes its kind."""
    kind, metadata = manifest["kind"], manifest["metadata"]

    def there() -> list[Manifest]:
        name = (metadata["name"], metadata.get("namespace"))
        found = (one["metadata"] | {"of": one} for one in east.all_of(kind))
        return [one["of"] for one in found if (one["name"], one.get("namespace")) == name]

    for found in there():
        if kind == "Service" and kind_of(found) != kind_of(manifest):
            await east.delete("Service", metadata["name"], namespace=metadata["namespace"])
    await eventually(lambda: not any("deletionTimestamp" in found["metadata"] for found in there()))


def kind_of(service: Manifest) -> tuple[str, bool]:
    spec = service["spec"]
    return spec.get("type", "ClusterIP"), spec.get("clusterIP") == "None"


def heard(east: Mesh, others: dict[str, Remote]) -> list[Remote]:
    """The remotes that are listened to at a place where somebody answers."""
    found = (one for one in east.server.snapshot("remotemeshes") if one["metadata"]["namespace"] == SYSTEM)
    return [others[one["metadata"]["name"]] for one in found if "address" in one["spec"].get("discovery", {})]
