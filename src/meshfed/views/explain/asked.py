"""What a person asks about: a host, its first labels, a Service or a record, in one mesh or several."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.model.reasons import ConditionType
from meshfed.plan.claims import EXPECTED
from meshfed.views.connections import OffersKnown, offers_known
from meshfed.views.explain.chains import Chain, chains
from meshfed.views.explain.exporter import exporter_part
from meshfed.views.explain.importer import importer_part
from meshfed.views.explain.links import LinkName, Whose
from meshfed.views.explain.parts import Part, is_described_as, of_remote
from meshfed.views.explain.seen import Seen
from meshfed.views.imports import is_named
from meshfed.views.snapshot import find
from meshfed.views.withdrawn import withdrawn_hosts

_CLOSE: Final = 3


class Neighbour(msgspec.Struct, frozen=True):
    """What a remote offers a mesh, in words, where it does not offer what was asked for."""

    mesh: str
    remote: str
    message: str


class Missing(msgspec.Struct, frozen=True):
    """The answer where nobody has what was asked for: the closest names, and how each remote stands.

    ``remotes`` and ``remedy`` are empty where a chain says the same, of each remote that may offer it.
    """

    message: str
    closest: tuple[str, ...]
    remotes: tuple[Neighbour, ...]
    remedy: str


def parts(
    name: str, sides: Sequence[Seen], given: Sequence[Part] = (), *, remote: str | None = None
) -> tuple[Part, ...]:
    """Return what each mesh says of whatever ``name`` is, towards each other mesh that it concerns, or ``remote``.

    ``given`` are parts of meshes that were not read here.
    """
    by_mesh = {side.mesh.name: side for side in sides}
    found: dict[tuple[str, str, str, str], Part] = {}
    for exporter, importer, host in sorted(_pairs(name, sides, given)):
        if remote is not None and remote not in {exporter, importer}:
            continue
        if exporter in by_mesh and importer:
            side, called = by_mesh[exporter], _called(by_mesh[exporter], importer, by_mesh)
            found[exporter, called, host, Whose.EXPORTER] = exporter_part(side, host, called)
        elif exporter in by_mesh:
            found[exporter, "", host, Whose.EXPORTER] = exporter_part(by_mesh[exporter], host, "")
        if importer in by_mesh:
            side, called = by_mesh[importer], _called(by_mesh[importer], exporter, by_mesh)
            found[importer, called, host, Whose.IMPORTER] = importer_part(side, host, called)
    theirs = [
        one
        for one in given
        if one.mesh.name not in by_mesh and is_meant(name, one) and remote in {None, *_meshes_of(one, sides)}
    ]
    return (*found.values(), *theirs)


def explained(
    name: str, sides: Sequence[Seen], given: Sequence[Part] = (), *, remote: str | None = None
) -> tuple[Chain, ...]:
    """Return the chains for whatever ``name`` is; of a host that nothing has, from each remote that might offer it.

    What somebody decided not to offer is left out where anything else has the name and nobody asked for it.
    """
    if not is_known(name, sides, given):
        return chains(_unoffered(name, sides, remote))
    found = chains(parts(name, sides, given, remote=remote))
    expected = [one for one in found if not _is_unasked(one)]
    return tuple(expected) if expected and remote is None else found


def is_known(name: str, sides: Sequence[Seen], given: Sequence[Part] = ()) -> bool:
    """Whether anything has a name: a Service of a mesh that was read, a record there, or a part of another mesh."""
    return next(_pairs(name, sides, given), None) is not None


def _unoffered(name: str, sides: Sequence[Seen], remote: str | None) -> Iterator[Part]:
    """Yield what each mesh says of a host that nothing has, towards each remote that was not read itself."""
    meshes = {side.mesh.name for side in sides}
    for side in sides:
        for known in side.snapshot.remotes:
            called = known.metadata.name
            if _own_name(side, called, sides) in meshes or remote not in {None, called, side.mesh.name}:
                continue
            host = _host(_dotted(name), known.spec.cluster_domain)
            hosts = [host] if host else [was for of, was, _ in withdrawn_hosts(side.snapshot) if of == called]
            yield from (importer_part(side, one, called) for one in hosts if host or is_named(_dotted(name), one))


def _host(name: str, cluster_domain: str) -> str:
    """Return the host that a name stands for; empty where it does not say of which namespace."""
    labels = name.split(".")
    if len(labels) < 2:
        return ""
    return f"{name}.svc.{cluster_domain}" if len(labels) == 2 else name


def _is_unasked(chain: Chain) -> bool:
    """Whether somebody decided that a host is not offered, and it is not recorded where that is seen."""
    link = chain.broken
    states = {one.name: one.state for one in chain.links}
    if link is None or link.reason not in EXPECTED or chain.imported_as:
        return False
    unseen = states[LinkName.RECEIVED] == "unseen"
    return link.name is LinkName.SELECTED or (link.name is LinkName.OFFERED and unseen)


def _pairs(name: str, sides: Sequence[Seen], given: Sequence[Part]) -> Iterator[tuple[str, str, str]]:
    """Yield exporter, importer (empty where there is none) and host of whatever has a name."""
    by_mesh = {side.mesh.name: side for side in sides}
    for side in sides:
        mesh = side.mesh.name
        for one in side.services_named(name):
            remotes = [_own_name(side, known.metadata.name, sides) for known in side.snapshot.remotes]
            yield from ((mesh, importer, side.host_of(one)) for importer in remotes or [""])
        for record in side.records_named(_dotted(name)):
            yield _own_name(side, record.spec.remote, sides), mesh, record.spec.host
    for part in given:
        if part.mesh.name not in by_mesh and is_meant(name, part):
            exporter, importer = _meshes_of(part, sides)
            yield exporter, importer, part.host


def is_meant(name: str, part: Part) -> bool:
    """Whether a part is of whatever has a name."""
    return name == part.service or is_named(_dotted(name), part.host, part.imported_as)


def _meshes_of(part: Part, sides: Iterable[Seen]) -> tuple[str, str]:
    """Return exporter and importer of a part, each as it calls itself where it was read."""
    other = next((side.mesh.name for side in sides if is_described_as(part.remote, side.mesh)), part.remote.name)
    return (part.mesh.name, other) if part.whose is Whose.EXPORTER else (other, part.mesh.name)


def _dotted(name: str) -> str:
    """Return a Service's ``namespace/name`` as the first labels of its host."""
    namespace, slash, service = name.partition("/")
    return f"{service}.{namespace}" if slash else name


def _own_name(side: Seen, remote: str, sides: Iterable[Seen]) -> str:
    """Return what a mesh that a RemoteMesh is of calls itself, where it is among those that were read."""
    known = side.remote(remote)
    others = [of_remote(one) for one in side.snapshot.remotes]
    for other in sides:
        if other is not side and known is not None and is_described_as(of_remote(known), other.mesh, others):
            return other.mesh.name
    return remote


def _called(side: Seen, mesh: str, by_mesh: dict[str, Seen]) -> str:
    """Return what a mesh calls another: the name of its RemoteMesh, or of the mesh where it has none for it."""
    other = by_mesh.get(mesh)
    if other is None:
        return mesh
    remotes = [of_remote(one) for one in side.snapshot.remotes]
    return next((one.name for one in remotes if is_described_as(one, other.mesh, remotes)), mesh)


def missing(name: str, sides: Sequence[Seen], *, told: bool = False) -> Missing:
    """Return what to say where nothing has a name: what is close to it, what remotes offer, what an exporter does.

    ``told``: chains say what there is to say of remotes.
    """
    hosts = {side.host_of(one) for side in sides for one in side.services}
    hosts |= {
        host for side in sides for one in side.snapshot.records for host in (one.spec.host, one.status.imported_as)
    }
    meshes = ", ".join(side.mesh.name for side in sides)
    return Missing(
        message=f"no Service of {meshes} has that name, and nothing is recorded that a remote mesh offers under it",
        closest=tuple(_closest(_dotted(name), {host for host in hosts if host})),
        remotes=() if told else tuple(_neighbours(sides)),
        remedy=""
        if told
        else (
            "at the mesh that has the Service: `meshfed explain` with its namespace/name says there what keeps it; it "
            "has to be selected by `export` of the MeshFederation, and `remotes` of a rule must not leave this mesh out"
        ),
    )


def _closest(name: str, hosts: Iterable[str]) -> list[str]:
    """Return the hosts that are closest to a name, by as many labels as that has."""
    labels = name.count(".") + 1
    by_start: dict[str, list[str]] = {}
    for host in sorted(hosts):
        by_start.setdefault(".".join(host.split(".")[:labels]), []).append(host)
    starts = difflib.get_close_matches(name, by_start, n=_CLOSE)
    same = [host for host in sorted(hosts) if host.partition(".")[0] == name.partition(".")[0]]
    return list(dict.fromkeys([*same, *(host for start in starts for host in by_start[start])]))[:_CLOSE]


def _neighbours(sides: Iterable[Seen]) -> Iterator[Neighbour]:
    for side in sides:
        for remote in side.snapshot.remotes:
            yield Neighbour(side.mesh.name, remote.metadata.name, _neighbour(remote))


def _neighbour(remote: RemoteMesh) -> str:
    """Return how a remote stands towards a mesh that asks what it offers."""
    known = offers_known(remote)
    decisive = ConditionType.SYNCED if known is OffersKnown.NOT_YET else ConditionType.CONNECTED
    condition = find(remote.status.conditions, decisive)
    if remote.spec.import_ is None:
        return "nothing is imported from it: its RemoteMesh has no `import`"
    if known is OffersKnown.COMPLETE:
        return f"its list is complete; of what it offers ({remote.status.offered_services}) none is this"
    if condition is None:
        return "no controller has looked at its RemoteMesh yet"
    return f"what it offers is not known: {condition.reason}: {condition.message}"
