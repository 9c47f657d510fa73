"""Two federated meshes, as their clusters hold them once the plan for each is written and every way was answered.

East imports what west exports, ratings of bookinfo. A test changes what their owners applied, or what there is of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshfed.kube import Manifest
from meshfed.model.offers import Offer
from meshfed.plan import PlanInputs, Settings, plan_all
from meshfed.plan.documents import read_documents
from meshfed.views.explain.seen import Seen, seen
from meshfed.views.snapshot import Snapshot
from tests.builders import GATEWAY, SYSTEM, host, mesh_federation, namespace, pod, port, remote_mesh, service
from tests.cli.fakes import BEFORE, NOW, condition, replica

RATINGS = host("ratings.bookinfo")
RECORD = f"{RATINGS}.west"
ENTRY = f"import.{RATINGS}"
IDENTITY = "spiffe://cluster.local/ns/istio-system/sa/controller-{}"
CONTROLLER = {"app.kubernetes.io/name": "federation-controller"}
Change = Callable[["World"], None]


class World:
    """What the owners of both meshes applied, by mesh."""

    def __init__(self) -> None:
        self.east = [*_mesh("east"), remote_mesh("west", identity=IDENTITY.format("west"))]
        self.west = [
            *_mesh("west"),
            remote_mesh("east", identity=IDENTITY.format("east")),
            service("ratings.bookinfo", exported=True),
            pod("ratings-1.bookinfo", "ratings", account="bookinfo-ratings"),
        ]

    def one(self, kind: str, name: str, mesh: str = "west") -> Manifest:
        """An object, to change it."""
        (found,) = [one for one in self.of(mesh) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found

    def of(self, mesh: str) -> list[Manifest]:
        """All of one mesh."""
        found: list[Manifest] = getattr(self, mesh)
        return found

    def remove(self, kind: str, name: str, mesh: str = "west") -> None:
        """Delete an object."""
        self.of(mesh).remove(self.one(kind, name, mesh))

    def snapshots(self) -> tuple[Snapshot, Snapshot]:
        """What east and west hold."""
        offers = {mesh: _offers(self.of(mesh)) for mesh in ("east", "west")}
        return (
            _held("east", self.east, {"west": offers["west"].get("east", ())}),
            _held("west", self.west, {"east": offers["east"].get("west", ())}),
        )

    def seen(self) -> tuple[Seen, Seen]:
        """The same with the plan for each."""
        east, west = self.snapshots()
        return seen(east), seen(west)


def _mesh(name: str) -> list[Manifest]:
    tls = [port(15443, "tls-passthrough")]
    return [
        namespace(SYSTEM),
        namespace("bookinfo"),
        mesh_federation(name),
        service(f"gateway.{SYSTEM}", selector=GATEWAY, ports=tls, externalIPs=["192.0.2.10"]),
        pod(f"gateway-1.{SYSTEM}", labels=GATEWAY),
        replica("controller-0"),
        pod(f"controller-1.{SYSTEM}", labels=CONTROLLER, account=f"controller-{name}"),
    ]


def _inputs(objects: Iterable[Manifest]) -> PlanInputs:
    return read_documents((("test", one) for one in objects), SYSTEM, "istio")


def _offers(objects: Iterable[Manifest]) -> dict[str, tuple[Offer, ...]]:
    """By remote, what it is told."""
    plan = plan_all(_inputs(objects), Settings())
    offers = {one.offer.host: one.offer for *_, one in plan.exports if one is not None}
    return {remote: tuple(offers[told] for told in hosts) for remote, hosts in plan.offered.items()}


def _held(mesh: str, objects: list[Manifest], offers: dict[str, tuple[Offer, ...]]) -> Snapshot:
    there = {one["metadata"]["name"] for one in objects if one["kind"] == "RemoteMesh"}
    inputs = _inputs(objects)
    heard = {remote: given for remote, given in offers.items() if remote in there}
    plan = plan_all(msgspec.structs.replace(inputs, offers=heard), Settings())
    there_is = {_key(one): copy.deepcopy(one) for one in (*objects, *plan.objects)}
    for status in plan.statuses:
        one = there_is.get((status.kind, status.namespace, status.name))
        if one is not None:
            said = [msgspec.to_builtins(given) | {"lastTransitionTime": BEFORE} for given in status.conditions]
            fields = {name: value for name, value in status.fields.items() if value not in {"", ()}}
            one["status"] = {"conditions": said, **fields}
            if status.kind == "RemoteMesh":
                said.append(condition("Reachable", True, "Answered", "answered through 192.0.2.10"))
    found = msgspec.json.decode(msgspec.json.encode([*there_is.values()]))  # as an API has them
    for one in found:
        if one["kind"] == "FederatedService" and one["status"].get("importedAs"):
            one["status"]["conditions"].append(condition("Reachable", True, "Answered", "answered through 192.0.2.10"))
        if one["kind"] == "ServiceEntry":
            one["status"] = {"addresses": [{"value": "240.240.0.1"}]}
    return Snapshot(mesh, SYSTEM, NOW, tuple(found))


def _key(one: Manifest) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def without(snapshot: Snapshot, kind: str, name: str) -> Snapshot:
    """A snapshot without an object."""
    kept = tuple(one for one in snapshot.objects if (one["kind"], one["metadata"]["name"]) != (kind, name))
    assert len(kept) < len(snapshot.objects)
    return msgspec.structs.replace(snapshot, objects=kept)


def saying(snapshot: Snapshot, kind: str, name: str, *conditions: dict[str, Any], **fields: Any) -> Snapshot:
    """A snapshot in which the controller says something else of an object."""
    changed = copy.deepcopy(snapshot.objects)
    (one,) = [one for one in changed if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    said = {given["type"]: given for given in (*one["status"]["conditions"], *conditions)}
    one["status"] |= {"conditions": list(said.values()), **fields}
    return msgspec.structs.replace(snapshot, objects=changed)
