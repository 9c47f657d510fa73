"""The federation as a picture: the meshes that are known of, and from whom each imports by which evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.model.reasons import ConditionType
from meshfed.views.meshes import MeshView
from meshfed.views.remotes import RemoteView
from meshfed.views.snapshot import find


class LinkEvidence(StrEnum):
    """What is known of a link, the worst first."""

    BROKEN = "broken"
    UNKNOWN = "unknown"
    CONFIGURED = "configured"
    HEARD = "heard"
    PROVEN = "proven"


EVIDENCE: Final[dict[LinkEvidence, str]] = {
    LinkEvidence.BROKEN: "a condition says that it does not hold",
    LinkEvidence.UNKNOWN: "nobody says how it stands now: the mesh is not reached, or no controller is at work there",
    LinkEvidence.CONFIGURED: "a RemoteMesh asks for it, and nobody was heard yet",
    LinkEvidence.HEARD: "discovery is connected, and no handshake has proven the way",
    LinkEvidence.PROVEN: "a handshake by way of the gateway was answered by whom it should be",
}
"""What each means, for legends and the documentation."""
_ORDER: Final = {one: position for position, one in enumerate(LinkEvidence)}


class LinkView(msgspec.Struct, frozen=True, rename="camel"):
    """One mesh imports from another: calls go from ``importer`` to the gateway of ``exporter``.

    ``message``, ``reason`` and ``since`` are of the condition that ``evidence`` follows from; ``by`` is the mesh that
    says so. The counts are of offers, as of `RemoteView`; ``None`` where the importer was not read.
    """

    exporter: str
    importer: str
    evidence: LinkEvidence
    message: str
    reason: str
    since: str
    by: str
    offered: int | None = None
    imported: int | None = None
    denied: int | None = None
    refused: int | None = None
    unreachable: int | None = None
    held: int | None = None


class MeshNode(msgspec.Struct, frozen=True, rename="camel"):
    """One mesh of the picture. ``source`` is where it was read, empty where only others describe it.

    ``reached`` is false where it did not answer when it was last asked; what is shown of it is then as old as
    ``taken``. ``gateway`` is the status of its condition GatewayReady, ``-`` where that is not known. ``addresses`` are
    where others reach its gateway. ``problems`` counts what is wrong, as the mesh sees it.
    """

    name: str
    source: str
    reached: bool
    ready: str
    message: str
    taken: str
    controller: str
    """``alive``, ``gone``, or ``unseen`` where no Lease says."""
    gateway: str
    gateway_message: str
    addresses: tuple[str, ...]
    network: str
    trust_domain: str
    exported: int | None = None
    imported: int | None = None
    problems: int = 0


class FederationView(msgspec.Struct, frozen=True, rename="camel"):
    """All meshes that were read, as `meshfed status` shows them, and the picture of how they hang together.

    ``nodes`` are those that were read, in that order, and then those that these describe, by name. ``links`` are the
    worst first. ``clocks`` says of each mesh that was read what time it is there, RFC 3339, by its API server.
    """

    meshes: tuple[MeshView, ...]
    nodes: tuple[MeshNode, ...]
    links: tuple[LinkView, ...]
    clocks: Mapping[str, str] = {}


def federation(meshes: Sequence[MeshView], unreached: Mapping[str, str], clocks: Mapping[str, str]) -> FederationView:
    """Return the picture of ``meshes``; ``unreached`` says of a source why it does not answer any more.

    ``clocks`` are by mesh.
    """
    described: dict[str, list[RemoteView]] = {}
    for mesh in meshes:
        for remote in mesh.remotes:
            described.setdefault(remote.name, []).append(remote)
    read = {mesh.mesh: mesh for mesh in meshes}
    nodes = [
        *(_node(mesh, described.get(mesh.mesh, ()), unreached) for mesh in meshes),
        *(_described(name, said) for name, said in sorted(described.items()) if name not in read),
    ]
    links = sorted(_links(read, unreached), key=lambda one: (_ORDER[one.evidence], one.importer, one.exporter))
    return FederationView(tuple(meshes), tuple(nodes), tuple(links), clocks)


def _node(mesh: MeshView, described: Sequence[RemoteView], unreached: Mapping[str, str]) -> MeshNode:
    gateway = find(mesh.conditions, ConditionType.GATEWAY_READY)
    return MeshNode(
        name=mesh.mesh,
        source=mesh.source,
        reached=mesh.source not in unreached,
        ready=mesh.ready,
        message=unreached.get(mesh.source, mesh.message),
        taken=mesh.taken,
        controller={True: "alive", False: "gone", None: "unseen"}[mesh.controller.alive],
        gateway=gateway.status if gateway is not None else "-",
        gateway_message=gateway.message if gateway is not None else "",
        addresses=_addresses(described),
        network=next((one.network for one in described), ""),
        trust_domain=next((one.trust_domain for one in described), ""),
        exported=mesh.exported if mesh.found else None,
        imported=mesh.imported if mesh.found else None,
        problems=len(mesh.problems),
    )


def _described(name: str, said: Sequence[RemoteView]) -> MeshNode:
    by = ", ".join(one.mesh for one in said)
    return MeshNode(
        name=name,
        source="",
        reached=False,
        ready="-",
        message=f"nothing of it was read: it is known from a RemoteMesh of {by}",
        taken="",
        controller="unseen",
        gateway="-",
        gateway_message="",
        addresses=_addresses(said),
        network=said[0].network,
        trust_domain=said[0].trust_domain,
    )


def _addresses(said: Sequence[RemoteView]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for one in said for address in one.addresses))


def _links(read: dict[str, MeshView], unreached: Mapping[str, str]) -> Iterator[LinkView]:
    told: set[tuple[str, str]] = set()
    for mesh in read.values():
        for remote in mesh.remotes:
            if remote.imports:  # else nobody is called
                told.add((remote.name, mesh.mesh))
                yield _imported(mesh, remote, unreached.get(mesh.source, ""))
    for mesh in read.values():
        for remote in mesh.remotes:
            subscribed = find(remote.conditions, ConditionType.SUBSCRIBED)
            is_heard = subscribed is not None and subscribed.status == "True"
            if (mesh.mesh, remote.name) in told or subscribed is None or (remote.name in read and not is_heard):
                continue
            doubt = _doubt(mesh, unreached.get(mesh.source, ""))
            evidence = LinkEvidence.HEARD if is_heard else LinkEvidence.CONFIGURED
            yield LinkView(
                exporter=mesh.mesh,
                importer=remote.name,
                evidence=LinkEvidence.UNKNOWN if doubt else evidence,
                message=doubt or subscribed.message,
                reason="" if doubt else subscribed.reason,
                since=subscribed.last_transition_time,
                by=mesh.mesh,
            )


def _doubt(mesh: MeshView, why: str) -> str:
    """Return why what a mesh's statuses say may be long past; empty where it is not."""
    if why:
        return f"{mesh.mesh} is not reached, and this is what it said last: {why}"
    if mesh.controller.alive is False:
        return f"no controller is at work in {mesh.mesh}: its statuses may be old"
    return ""


def _imported(mesh: MeshView, remote: RemoteView, why: str) -> LinkView:
    """Return the link by which a mesh imports from a remote, as its own RemoteMesh says."""
    doubt = _doubt(mesh, why)
    evidence, type_ = _evidence(remote)
    decisive = find(remote.conditions, type_)
    return LinkView(
        exporter=remote.name,
        importer=mesh.mesh,
        evidence=LinkEvidence.UNKNOWN if doubt else evidence,
        message=doubt or (decisive.message if decisive is not None else remote.message),
        reason="" if doubt else decisive.reason if decisive is not None else remote.reason,
        since=decisive.last_transition_time if decisive is not None else remote.since,
        by=mesh.mesh,
        offered=remote.offered,
        imported=remote.imported,
        denied=remote.denied,
        refused=remote.refused,
        unreachable=remote.unreachable,
        held=remote.held,
    )


def _evidence(remote: RemoteView) -> tuple[LinkEvidence, ConditionType]:
    """Return the evidence for a link, and which condition gives it."""
    # A handshake tells most; that a remote is not ready says why where neither it nor the connection does.
    for status, type_ in (
        (remote.reachable, ConditionType.REACHABLE),
        (remote.heard, ConditionType.CONNECTED),
        (remote.ready, ConditionType.READY),
    ):
        if status == "False":
            return LinkEvidence.BROKEN, type_
    if remote.reachable == "True":
        return LinkEvidence.PROVEN, ConditionType.REACHABLE
    if remote.heard == "True":
        return LinkEvidence.HEARD, ConditionType.CONNECTED
    return LinkEvidence.CONFIGURED, ConditionType.READY
