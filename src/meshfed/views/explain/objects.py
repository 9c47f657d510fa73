"""Objects that the controller wrote, and from which inputs each follows, as it says itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from meshfed.model.names import ServiceHost
from meshfed.plan import ExportKey, GatewayKey, ImportKey, Key, MeshKey, OfferKey, RemoteKey
from meshfed.plan.keys import origin, read_origin
from meshfed.views.explain.asked import Missing
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.importer import imported_as
from meshfed.views.explain.named import KINDS, Named
from meshfed.views.explain.seen import Seen, mapping, origin_of, place, shown
from meshfed.views.snapshot import Document

_CLOSE: Final = 3


class TreeView(msgspec.Struct, frozen=True, rename="camel"):
    """An object, the key that it follows from, and the objects that this key is worked out from.

    Objects are written ``Kind namespace/name``. ``key`` is empty where the controller did not write the object.
    """

    mesh: str
    object: str
    key: str
    inputs: tuple[str, ...]


def find_object(side: Seen, wanted: Named) -> Document | None:
    """Return an object by its name."""
    found = (one for one in side.snapshot.of_kind(wanted.kind) if place(one)[1] == wanted.name)
    return next((one for one in found if wanted.namespace in {None, place(one)[0]}), None)


def no_object(wanted: Named, sides: Sequence[Seen]) -> Missing:
    """Return what to say where there is no such object: which of that kind are called alike, or which there are."""
    there = {shown(one).partition(" ")[2]: one for side in sides for one in side.snapshot.of_kind(wanted.kind)}
    by_name = {place(one)[1]: text for text, one in there.items()}
    same = [text for text, one in there.items() if place(one)[1] == wanted.name]
    close = [by_name[name] for name in difflib.get_close_matches(wanted.name, by_name, n=_CLOSE)]
    holding = [text for name, text in sorted(by_name.items()) if wanted.name in name]
    found = list(dict.fromkeys([*same, *close, *holding]))[:_CLOSE]
    meshes, where = ", ".join(side.mesh.name for side in sides), f"{wanted.namespace}/" if wanted.namespace else ""
    why = next((why for side in sides if (why := side.why_unread(wanted.kind))), "")
    unread = f", as far as can be seen: {why}" if why else ""
    number = f"; of that kind there {'is 1' if len(there) == 1 else f'are {len(there)}'}" if not why else ""
    return Missing(
        message=f"there is no {wanted.kind} {where}{wanted.name} in {meshes}{unread}{number}",
        closest=tuple(f"{wanted.kind} {text}" for text in found),
        remotes=(),
        remedy="ask for the host or the Service itself, whose chain says which of its objects are in place",
    )


def asks_about(document: Document) -> str:
    """Return what to explain where somebody asks about an object: the host, Service or record that it follows from."""
    if document.get("kind") == "Service":
        return "/".join(place(document))
    match read_origin(origin_of(document)):
        case ImportKey(host=host):
            return host
        case ExportKey(namespace=namespace, name=name):
            return f"{namespace}/{name}"
        case OfferKey(name=name):
            return name
        case _:
            return ""


def tree(side: Seen, document: Document) -> TreeView:
    """Return from which inputs an object follows."""
    key = read_origin(origin_of(document))
    inputs = tuple(dict.fromkeys(_inputs(side, key))) if key is not None else ()
    return TreeView(side.mesh.name, shown(document), origin_of(document), inputs)


def trees(sides: Iterable[Seen], chain: Chain) -> Iterator[TreeView]:
    """Yield the objects that a chain leads to, in the meshes that were read."""
    for side in sides:
        keys: set[str] = set()
        if side.mesh.name == chain.exporter and chain.service:
            namespace, _, name = chain.service.partition("/")
            keys.add(origin(ExportKey(namespace, name)))
        if side.mesh.name == chain.importer:
            records = [one.metadata.name for one in side.snapshot.records if one.spec.host == chain.host]
            keys |= {origin(OfferKey(record)) for record in records}
            keys |= {origin(ImportKey(chain.imported_as))} if chain.imported_as else set()
        listed = _own_host(side, chain) if side.mesh.name == chain.exporter else ""
        for kind in KINDS:
            for document in side.snapshot.of_kind(kind):
                if origin_of(document) in keys or (listed and listed in _listed(document)):
                    yield tree(side, document)


def _own_host(side: Seen, chain: Chain) -> str:
    namespace, slash, name = chain.service.partition("/")
    return ServiceHost(name, namespace, side.cluster_domain).fqdn if slash else ""


def _listed(document: Document) -> list[str]:
    """Return the hosts of one of our Gateways."""
    if document.get("kind") != "Gateway" or not origin_of(document):
        return []
    servers = mapping(document.get("spec")).get("servers")
    return [str(host) for server in servers or () for host in mapping(server).get("hosts") or ()]


def _inputs(side: Seen, key: Key) -> Iterator[str]:
    """Yield what a key is worked out from, of the objects that people write or remotes cause."""
    namespace = side.snapshot.namespace
    match key:
        case ExportKey(namespace=place, name=name):
            yield from (f"Service {place}/{name}", f"Namespace {place}")
        case ImportKey(host=host):
            yield from _of_import(side, host)
        case GatewayKey():
            yield from _of_gateway(side, key)
        case OfferKey(name=name):
            remotes = (one.spec.remote for one in side.snapshot.records if one.metadata.name == name)
            yield from (f"RemoteMesh {namespace}/{remote}" for remote in remotes)
        case RemoteKey(name=name):
            yield f"RemoteMesh {namespace}/{name}"
        case MeshKey():
            yield from (f"RemoteMesh {namespace}/{one.metadata.name}" for one in side.snapshot.remotes)
        case _:
            pass
    if side.federation is not None:
        yield f"MeshFederation {namespace}/{side.federation.metadata.name}"


def _of_import(side: Seen, host: str) -> Iterator[str]:
    for record in side.snapshot.records:
        if imported_as(record) == host:
            yield f"FederatedService {side.snapshot.namespace}/{record.metadata.name}"
            yield f"RemoteMesh {side.snapshot.namespace}/{record.spec.remote}"
    own = ServiceHost.parse(host, side.cluster_domain)
    if own is not None and side.service((own.namespace, own.name)) is not None:
        yield f"Service {own.namespace}/{own.name}"


def _of_gateway(side: Seen, key: GatewayKey) -> Iterator[str]:
    gateways = [one for one in side.snapshot.of_kind("Gateway") if origin_of(one) == origin(key)]
    for host in (host for one in gateways for host in _listed(one)):
        own = ServiceHost.parse(host, side.cluster_domain)
        if own is not None:
            yield f"Service {own.namespace}/{own.name}"
