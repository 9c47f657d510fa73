"""The plan of a cluster's own inputs, and whether the cluster is as its plan says.

What decides is read from the cluster, what depends on history too (FederatedServices, Gateways), and given to
``plan_all``, as `meshfed plan` would be. What the controller wrote has to be the same, object for object.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from typing import Any, TypeVar

import msgspec

from meshfed.api.core import EndpointSlice, Namespace, Pod, Service
from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL, FederatedService, MeshFederation, RemoteMesh
from meshfed.istio import gateway_index
from meshfed.istio.peer_authentications import of_peer_authentication
from meshfed.kube import Manifest
from meshfed.model.workloads import Located
from meshfed.plan import PlanInputs, Settings, plan_all
from meshfed.plan.endpoint_slices import is_by_hand, of_slice
from meshfed.plan.foreign_destination_rules import of_destination_rule
from meshfed.plan.foreign_service_entries import of_service_entry
from meshfed.plan.workloads import of_entry, of_pod
from tests.controller.meshes import WRITTEN, Mesh
from tests.controller.remotes import Remote
from tests.waiting import PATIENCE

Name = tuple[str, str, str]
"""Kind, namespace, name."""
T = TypeVar("T")


def contents(mesh: Mesh, *plurals: str) -> dict[Name, Manifest]:
    """What this controller wrote and cares for: apiVersion, labels, spec, and what was decided of each offer."""
    found = (one for one in mesh.server.snapshot(*(plurals or WRITTEN)) if _owner(one) == mesh.namespace)
    return {_name(one): _content(one) for one in found}


def planned(mesh: Mesh, *others: Remote) -> dict[Name, Manifest]:
    """What it should have written, given that ``others`` have been heard."""
    gateways = [one for one in mesh.server.snapshot("gateways.networking.istio.io") if _owner(one) == mesh.namespace]
    indexes = {gateway_index(one["metadata"]["name"]): one["spec"]["servers"] for one in gateways}
    heard = {remote.name: tuple(remote.offers.values()) for remote in others}
    meshes = _read(mesh, RemoteMesh, "remotemeshes")
    inputs = PlanInputs(
        federations=_read(mesh, MeshFederation, "meshfederations"),
        remotes=meshes,
        namespaces=_read(mesh, Namespace, "namespaces", everywhere=True),
        services=_read(mesh, Service, "services", everywhere=True),
        workloads=tuple(_workloads(mesh)),
        slices=tuple(
            ((one.metadata.namespace, one.metadata.name), of_slice(one))
            for one in _read(mesh, EndpointSlice, "endpointslices", everywhere=True)
            if is_by_hand(one.metadata.labels)
        ),
        rules=tuple((_name(one)[1:], of_destination_rule(one)) for one in _of_others(mesh, "destinationrules")),
        entries=tuple((_name(one)[1:], of_service_entry(one)) for one in _of_others(mesh, "serviceentries")),
        peer_authentications=tuple(
            (_name(one)[1:], of_peer_authentication(one)) for one in _of_others(mesh, "peerauthentications")
        ),
        records=_read(mesh, FederatedService, "federatedservices"),
        gateways=tuple(
            (index, tuple(host for server in servers for host in server["hosts"]))
            for index, servers in indexes.items()
            if index is not None
        ),
        resolved=mesh.dns,
        offers={name: offers for name, offers in heard.items() if name in {one.metadata.name for one in meshes}},
    )
    plan = plan_all(inputs, Settings(namespace=mesh.namespace, metrics_port=0, health_port=0))
    return {_name(one): _content(one) for one in plan.objects}


async def as_planned(mesh: Mesh, *others: Remote, within: float = PATIENCE) -> dict[Name, Manifest]:
    """Wait until the cluster is as planned and stays so; returns what is in it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    settled = -1
    while True:
        found, wanted, writes = contents(mesh), planned(mesh, *others), mesh.writes
        if found == wanted and settled == writes:
            return found
        assert loop.time() < deadline, f"not as planned:\n{difference(wanted, found)}"
        settled = writes if found == wanted else -1
        await asyncio.sleep(0.06)


def difference(wanted: dict[Name, Manifest], found: dict[Name, Manifest]) -> str:
    """What is wanted and not found (-), and found and not wanted (+)."""
    parts: list[str] = []
    for name in sorted(wanted.keys() | found.keys()):
        before, after = wanted.get(name), found.get(name)
        if before != after:
            lines = unified_diff(_lines(before), _lines(after), "planned " + "/".join(name), "found", lineterm="", n=30)
            parts += lines
    return "\n".join(parts)


def _lines(manifest: Manifest | None) -> Sequence[str]:
    return [] if manifest is None else json.dumps(manifest, indent=1, sort_keys=True).splitlines()


def _read(mesh: Mesh, kind: type[T], plural: str, *, everywhere: bool = False) -> tuple[T, ...]:
    found = mesh.server.snapshot(plural)
    return tuple(
        msgspec.convert(one, kind) for one in found if everywhere or one["metadata"]["namespace"] == mesh.namespace
    )


def _workloads(mesh: Mesh) -> Iterator[tuple[Name, Located]]:
    for pod in _read(mesh, Pod, "pods", everywhere=True):
        yield ("Pod", pod.metadata.namespace, pod.metadata.name), of_pod(pod)
    for entry in _of_others(mesh, "workloadentries"):
        yield _name(entry), of_entry(entry)


def _of_others(mesh: Mesh, plural: str) -> Iterator[Manifest]:
    return (one for one in mesh.server.snapshot(plural) if _owner(one) is None)


def _owner(manifest: Manifest) -> Any:
    return manifest["metadata"].get("labels", {}).get(OWNER_NAMESPACE_LABEL)


def _name(manifest: Manifest) -> Name:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _content(manifest: Manifest) -> Manifest:
    content = {
        "apiVersion": manifest["apiVersion"],
        "labels": manifest["metadata"]["labels"],
        "annotations": manifest["metadata"].get("annotations", {}),
        "spec": manifest["spec"],
    }
    if manifest["kind"] == "FederatedService":
        status = manifest.get("status", {})
        accepted = [one for one in status.get("conditions", []) if one["type"] == "Accepted"]
        content["accepted"] = [{key: one[key] for key in ("status", "reason", "message")} for one in accepted]
        content["importedAs"] = status.get("importedAs", "")
        content["objects"] = sorted(status.get("objects", ()))
    plain: Manifest = msgspec.json.decode(msgspec.json.encode(content))
    return plain
