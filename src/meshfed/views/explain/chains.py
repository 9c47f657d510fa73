"""Chains: the parts of two meshes put together, or of one, with the other's side unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from meshfed.model.reasons import Reason
from meshfed.views.explain.links import LINKS, ChainLink, LinkName, State, Whose, broken, ok, unknown, unseen
from meshfed.views.explain.parts import FIELDS, OF_IMPORTER, Part, Told, differences, is_described_as

_EXPORTERS: Final = tuple(name for name, (whose, _) in LINKS.items() if whose is Whose.EXPORTER)
_IMPORTERS: Final = tuple(name for name, (whose, _) in LINKS.items() if whose is Whose.IMPORTER)
_MISLED: Final = frozenset({Reason.GATEWAY_NOT_REACHED, Reason.NOT_PASSED_ON})
"""What a way ends with that leads elsewhere than to the exporter's gateway."""


class Chain(msgspec.Struct, frozen=True, rename="camel"):
    """All links for one host from one mesh to another; ``broken`` is the first that does not hold.

    ``service`` is the exporter's, empty where that side is not seen, and ``imported_as`` the importer's host.
    """

    host: str
    exporter: str
    importer: str
    service: str
    imported_as: str
    links: tuple[ChainLink, ...]
    broken: ChainLink | None


def chains(parts: Iterable[Part]) -> tuple[Chain, ...]:
    """Return a chain for each host and each pair of meshes that parts speak of, those that are broken first."""
    given = tuple(parts)
    exporting = [part for part in given if part.whose is Whose.EXPORTER]
    importing = [part for part in given if part.whose is Whose.IMPORTER]
    found, left = [], list(importing)
    for part in exporting:
        other = next((one for one in importing if _belongs(part, one, importing)), None)
        left = [one for one in left if one is not other]
        found.append(_chain(part, other))
    found += [_chain(None, part) for part in left]
    return tuple(sorted(found, key=lambda one: (one.broken is None, one.host, one.exporter, one.importer)))


def _belongs(exporting: Part, importing: Part, all_importing: Sequence[Part]) -> bool:
    beside = [one.remote for one in all_importing if one.mesh == importing.mesh and one.host == importing.host]
    return (
        exporting.host == importing.host
        and is_described_as(importing.remote, exporting.mesh, beside)
        and is_described_as(exporting.remote, importing.mesh)
    )


def _chain(exporting: Part | None, importing: Part | None) -> Chain:
    first = exporting or importing
    if first is None:
        raise ValueError("a chain takes a part")
    # Each mesh is called as it calls itself, where it says so.
    exporter = exporting.mesh.name if exporting is not None else first.exporter
    importer = importing.mesh.name if importing is not None else first.importer
    known = {link.name: link for part in (exporting, importing) if part is not None for link in part.links}
    if exporting is None:
        known |= {name: _theirs(name, exporter, importer, first.host) for name in _EXPORTERS}
    if importing is None:
        known |= {name: _theirs(name, importer, exporter, first.host) for name in _IMPORTERS}
    if exporting is not None and importing is not None:
        known[LinkName.DESCRIBED] = described(exporting, importing)
        known[LinkName.RECEIVED] = received(known[LinkName.RECEIVED], exporting, importing)
        known[LinkName.OFFERED] = heard(known[LinkName.OFFERED], known[LinkName.CONNECTED])
        known[LinkName.REACHED] = reached(known[LinkName.REACHED], exporting, importing)
    else:
        other = exporter if exporting is None else importer
        known[LinkName.DESCRIBED] = unseen(LinkName.DESCRIBED, f"what {other} says of itself is not seen from here")
    links = tuple(
        msgspec.structs.replace(link, mesh=importer if LINKS[link.name][0] is Whose.IMPORTER else exporter)
        if not link.mesh
        else link
        for link in (known[name] for name in LINKS if name in known)
    )
    return Chain(
        host=first.host,
        exporter=exporter,
        importer=importer,
        service=exporting.service if exporting is not None else "",
        imported_as=importing.imported_as if importing is not None else "",
        links=links,
        broken=next((link for link in links if link.state is State.BROKEN), None),
    )


def _theirs(name: LinkName, mesh: str, to: str, host: str) -> ChainLink:
    who = f"{mesh}'s owner" if mesh else "the other owner"
    return unseen(name, f"{who} sees it: `meshfed explain {host} --remote {to} --export FILE` there")


def described(exporting: Part, importing: Part) -> ChainLink:
    """Return whether each mesh's RemoteMesh for the other says what the other says of itself."""
    name = LinkName.DESCRIBED
    wrong = [
        *((importing, text) for text in differences(importing.remote, importing.mesh.name, exporting.mesh, FIELDS)),
        *(
            (exporting, text)
            for text in differences(exporting.remote, exporting.mesh.name, importing.mesh, OF_IMPORTER)
        ),
    ]
    if not wrong:
        return ok(name, "the RemoteMeshes say what both meshes say of themselves")
    side, message = wrong[0]
    whose = Whose.IMPORTER if side is importing else Whose.EXPORTER
    more = "".join(f"; {text}" for _, text in wrong[1:])
    remedy = f"correct RemoteMesh {side.remote.name} at {side.mesh.name}"
    link = broken(name, message + more, remedy=remedy, whose=whose)
    return msgspec.structs.replace(link, mesh=side.mesh.name)


def heard(offered: ChainLink, connected: ChainLink) -> ChainLink:
    """Return whether the importer hears of the offer: where it does not subscribe, it says itself why.

    One that takes itself for connected is heard by somebody else.
    """
    if offered.reason != Reason.NOT_SUBSCRIBED:
        return offered
    if connected.state is State.OK:
        message = f"{offered.message}, though {connected.mesh or 'the importer'} says that it is connected"
        return broken(offered.name, message, offered.reason, remedy=offered.remedy, whose=Whose.EITHER)
    return unknown(offered.name, f"{offered.message}; see `{connected.name}`", offered.reason)


def reached(link: ChainLink, exporting: Part, importing: Part) -> ChainLink:
    """Return whether a handshake was answered; where not, and both sides say where the gateway is, do they agree?"""
    elsewhere = [one for one in importing.ways if one not in exporting.ways]
    if link.reason not in _MISLED or not exporting.ways or not elsewhere:
        return link
    exporter, remote = exporting.mesh.name, importing.remote.name
    remedy = (
        f"`addresses` and `port` of RemoteMesh {remote} lead to {', '.join(elsewhere)}, and {exporter}'s gateway is at "
        f"{', '.join(exporting.ways)}: correct them, or see what is between"
    )
    return msgspec.structs.replace(link, whose=Whose.IMPORTER, remedy=remedy)


def received(link: ChainLink, exporting: Part, importing: Part) -> ChainLink:
    """Return whether what is recorded is what is offered, where both are seen."""
    offered, recorded = exporting.told, importing.told
    exporter, importer = exporting.mesh.name, importing.mesh.name
    is_missing = link.state is State.BROKEN or link.reason == Reason.NOT_SYNCED
    if is_missing and recorded is None and offered is not None:
        message = f"{exporter} offers it to {importer}, and {importer} has not recorded it"
        remedy = (
            f"see `Ready` and `Synced` of RemoteMesh {importing.remote.name} at {importer}: it may just have come, or "
            "be one of more offers that are not admitted than are recorded"
        )
        return broken(link.name, message, link.reason, remedy=remedy)
    if link.state is not State.OK or recorded is None:
        return link
    if offered is None:
        message = f"it is still recorded, and {exporter} does not offer it to {importer} any more"
        remedy = f"see `Synced` of RemoteMesh {importing.remote.name} at {importer}: a mass withdrawal may be held"
        return broken(link.name, message, remedy=remedy)
    different = [*_different(offered, recorded)]
    if not different:
        return link
    message = f"it is recorded with other {' and '.join(different)} than {exporter} offers it with"
    remedy = f"wait a moment; if it stays, see `Synced` of RemoteMesh {importing.remote.name} at {importer}"
    return broken(link.name, message, remedy=remedy)


def _different(offered: Told, recorded: Told) -> Iterator[str]:
    if _shape(offered) != _shape(recorded):
        yield "ports"
    if (
        offered.identities is not None
        and recorded.identities is not None
        and {*offered.identities} != {*recorded.identities}
    ):
        yield "identities"
    if offered.sni_host != recorded.sni_host:
        yield "SNI"


def _shape(told: Told) -> list[tuple[int, str, str]]:
    """Return what of ports every dialect of discovery tells."""
    return sorted((port.number, port.name, port.protocol) for port in told.ports)
