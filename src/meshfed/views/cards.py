"""Cards: what the owner of one mesh needs to know of another to federate with it, on one page, without a secret.

What a card says comes from another owner. Until it is checked here, it may be of any size, and say anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
import yaml
from msgspec import Meta

from meshfed.api.core import Route, Service
from meshfed.api.documents import decode_documents
from meshfed.api.errors import InvalidDocument, shown
from meshfed.api.objects import decode_object
from meshfed.api.scalars import (
    Address,
    DnsLabel,
    DnsName,
    IngressKind,
    MeshName,
    Network,
    PortNumber,
    SpiffeUri,
    TrustDomain,
)
from meshfed.api.v1alpha1 import API_VERSION as OBJECTS_API_VERSION
from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.model.meshes import FDS_PORT, GatewayAddress, IngressType, LocalMesh
from meshfed.plan.local_services import may_select
from meshfed.views import API_VERSION
from meshfed.views.snapshot import Document, Snapshot

KIND: Final = "MeshCard"
LARGEST: Final = 64 * 1024
"""Bytes; a card of 64 addresses and 64 roots has a tenth of that."""
_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""The one that decodes it: another may see fewer aliases."""
ROUTER_PORT: Final = 443
"""On which OpenShift's router takes TLS."""


class CardDiscovery(msgspec.Struct, frozen=True):
    """Where the controller is, in its own cluster."""

    namespace: DnsLabel
    port: PortNumber


class CardRoot(msgspec.Struct, frozen=True, rename="camel"):
    """A certificate authority that the mesh trusts: the SHA-256 of its certificate, and until when it is valid."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
    not_after: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$", max_length=20)]


class MeshCard(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What another mesh needs of this one.

    ``addresses`` and ``port`` are those of its gateway, or of the router before it. ``identity`` is its controller's.
    """

    name: MeshName
    addresses: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=64)]
    port: PortNumber
    network: Network
    ingress_type: IngressKind
    trust_domain: TrustDomain
    cluster_domain: DnsName
    identity: SpiffeUri
    discovery: CardDiscovery
    trust_domain_aliases: Annotated[tuple[TrustDomain, ...], Meta(max_length=64)] = ()
    roots: Annotated[tuple[CardRoot, ...], Meta(max_length=64)] = ()


class CardIncomplete(Exception):
    """What a card needs cannot be seen in the cluster; the message says which, and how to state it."""


# --- of this mesh


def mesh_card(mesh: LocalMesh, addresses: Sequence[str], roots: Sequence[CardRoot]) -> MeshCard:
    """Return the card of this mesh.

    Raises:
        InvalidInput: the others' API would refuse what it says; the message names the field.
    """
    card = MeshCard(
        name=mesh.name,
        addresses=tuple(addresses),
        port=ROUTER_PORT if mesh.ingress_type is IngressType.OPENSHIFT_ROUTER else mesh.gateway_port,
        network=mesh.network,
        ingress_type=mesh.ingress_type.value,
        trust_domain=mesh.trust_domain,
        cluster_domain=mesh.cluster_domain,
        identity=str(mesh.identity),
        discovery=CardDiscovery(mesh.namespace, FDS_PORT),
        trust_domain_aliases=mesh.config.trust_domain_aliases,
        roots=tuple(roots),
    )
    _refuse_what_the_api_would(card, "this mesh's card")
    return card


def gateway_addresses(snapshot: Snapshot, mesh: LocalMesh) -> tuple[str, ...]:
    """Return where this mesh's gateway, or the router before it, is reached from outside the cluster.

    Raises:
        CardIncomplete: that is not seen.
    """
    if mesh.ingress_type is IngressType.OPENSHIFT_ROUTER:
        return _router(snapshot, mesh)
    services = [
        one
        for one in _decoded(snapshot, "Service", Service)
        if one.spec.selector
        and may_select(one.spec.selector, mesh.gateway_selector)
        and any(port.port == mesh.gateway_port and port.protocol == "TCP" for port in one.spec.ports)
    ]
    found = tuple(dict.fromkeys(address for one in services for address in _addresses(one)))
    if found:
        return found
    labels = ",".join(f"{key}={value}" for key, value in sorted(mesh.gateway_selector.items()))
    names = ", ".join(f"{one.metadata.namespace}/{one.metadata.name}" for one in services)
    if not services:
        why = f"no Service with port {mesh.gateway_port} selects {labels}"
    elif any(one.spec.type == "NodePort" for one in services):
        why = f"Service {names} is reached by its node port, at whichever node the other mesh reaches"
    else:
        why = f"Service {names} has no address of a load balancer and no externalIPs"
    raise CardIncomplete(f"where this mesh's gateway is reached is not known: {why}; say it by --address HOST[:PORT]")


def gateway_ways(snapshot: Snapshot, mesh: LocalMesh | None) -> tuple[GatewayAddress, ...]:
    """Return where this mesh's gateway is reached, with the port; nothing where that is not seen."""
    if mesh is None:
        return ()
    try:
        return tuple(GatewayAddress(one, mesh.gateway_port) for one in gateway_addresses(snapshot, mesh))
    except CardIncomplete:
        return ()


def _addresses(service: Service) -> Iterator[str]:
    for one in service.status.load_balancer.ingress:
        if one.ip or one.hostname:
            yield one.ip or one.hostname
    yield from service.spec.external_ips


def _router(snapshot: Snapshot, mesh: LocalMesh) -> tuple[str, ...]:
    """Return the routers that have admitted this mesh's Routes: each states its name in a Route's status.

    The host of a Route itself is a name of Istio's, for which there is no DNS.
    """
    found = {
        ingress.router_canonical_hostname
        for route in _decoded(snapshot, "Route", Route)
        if route.metadata.namespace == mesh.control_plane_namespace
        for ingress in route.status.ingress
        if ingress.router_canonical_hostname
        and any(one.type == "Admitted" and one.status == "True" for one in ingress.conditions)
    }
    if not found:
        raise CardIncomplete(
            "where this mesh's router is reached is not known: no Route in namespace "
            f"{mesh.control_plane_namespace} says which router admitted it; say it by --address HOST"
        )
    return tuple(sorted(found))


def accounts(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the ServiceAccounts that the Deployments of the controller run as, sorted."""
    found = {
        str(one["spec"]["template"]["spec"].get("serviceAccountName") or "default")
        for one in snapshot.of_kind("Deployment")
        if one["metadata"].get("namespace") == snapshot.namespace
    }
    return tuple(sorted(found))


def _decoded(snapshot: Snapshot, kind: str, type_: type[Any]) -> Iterator[Any]:
    for document in snapshot.of_kind(kind):
        try:
            yield msgspec.convert(document, type_)
        except msgspec.ValidationError:
            continue  # what nobody can read says nothing of an address


def card_root(sha256: str, not_after: float) -> CardRoot:
    """Return a root as a card has it; ``not_after`` is in seconds since 1970."""
    return CardRoot(sha256, datetime.fromtimestamp(not_after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


# --- of another mesh


def read_card(text: str, source: str) -> tuple[MeshCard, tuple[str, ...]]:
    """Return the card that ``text`` is, and the fields of it that this version does not know.

    Raises:
        InvalidInput: it is no card, or says what the API would refuse; the message names the field.
    """
    document = _only(text, source)
    version, kind = document.get("apiVersion"), document.get("kind")
    if kind != KIND or version != API_VERSION:
        raise InvalidDocument(
            source,
            f"it has apiVersion {shown(version)} and kind {shown(kind)}, and a card has {API_VERSION} and {KIND}: "
            "have `meshfed link card` print one",
        )
    try:
        card = msgspec.convert(document, MeshCard)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        field = place.rstrip("`")
        raise InvalidDocument(source, f"{field}: {problem}" if field else problem) from None
    _refuse_what_the_api_would(card, source)
    return card, tuple(_unknown(document, MeshCard, ("apiVersion", "kind")))


def as_spec(card: MeshCard) -> dict[str, Any]:
    """Return what of the spec of a RemoteMesh a card states, under the API's names."""
    stated: dict[str, Any] = msgspec.to_builtins(card)
    stated["addresses"] = list(card.addresses)
    return {
        name: stated[name]
        for name in (
            "network",
            "addresses",
            "port",
            "ingressType",
            "trustDomain",
            "clusterDomain",
            "identity",
            "discovery",
        )
    }


def _only(text: str, source: str) -> Document:
    """Return the one document of a card.

    An alias of YAML is refused: a few lines of them stand for more than any memory holds.
    """
    if len(text.encode(errors="replace")) > LARGEST:
        raise InvalidDocument(source, f"it is larger than {LARGEST // 1024} KiB, which no card is")
    if _has_alias(text):
        raise InvalidDocument(source, "it has an alias (*), which no card has: write out what it stands for")
    documents = decode_documents(text, source)
    if len(documents) != 1:
        raise InvalidDocument(source, f"it has {len(documents)} documents, and a card is one")
    return documents[0]


def _has_alias(text: str) -> bool:
    """Whether text that may be YAML has an alias; what else is wrong with it says who decodes it."""
    try:
        return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError:
        return False


def _refuse_what_the_api_would(card: MeshCard, source: str) -> None:
    manifest = {
        "apiVersion": OBJECTS_API_VERSION,
        "kind": "RemoteMesh",
        "metadata": {"name": card.name, "namespace": "default"},
        "spec": as_spec(card),
    }
    decode_object(manifest, RemoteMesh, source=source)


def _unknown(document: object, type_: type[msgspec.Struct], also: Sequence[str] = ()) -> Iterator[str]:
    """Yield the fields of a document that its type does not have."""
    if not isinstance(document, dict):
        return
    known = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    for name, value in document.items():
        if name in also:
            continue
        if name not in known:
            yield name
        elif name == "discovery":
            yield from (f"{name}.{below}" for below in _unknown(value, CardDiscovery))
        elif name == "roots":
            yield from (f"{name}[{n}].{below}" for n, root in enumerate(value) for below in _unknown(root, CardRoot))
