"""What one mesh says of one host towards another: its part of a chain, which may go to the other's owner as a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import MeshFederation, RemoteMesh
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import GatewayAddress, is_ip
from meshfed.model.offers import Port
from meshfed.model.reasons import Reason
from meshfed.views.explain.links import LINKS, ChainLink, LinkName, State, Whose, after, sentence

PART_KIND: Final = "ExplanationPart"

_TOLD: Final = frozenset(
    {
        Reason.NO_MESH_FEDERATION,
        Reason.NOT_SELECTED,
        Reason.DENIED_BY_RULE,
        Reason.NO_SERVICE,
        Reason.EXTERNAL_NAME,
        Reason.NO_USABLE_PORTS,
        Reason.REMOTE_MISSING,
        Reason.NOT_IMPORTED,
        Reason.PUBLISH_ONLY,
        Reason.LIMIT_EXCEEDED,
        Reason.INVALID_HOST,
        Reason.INVALID_PORTS,
        Reason.PROTECTED_NAMESPACE,
        Reason.TCP_NOT_ALLOWED,
        Reason.LOCAL_SERVICE_EXISTS,
        Reason.ALREADY_IMPORTED,
        Reason.UNEXPECTED_IDENTITY,
    }
)
"""Reasons whose messages name nothing but the host, rules, meshes and identities."""


FIELDS: Final = {
    "network": "network",
    "trust_domain": "trustDomain",
    "cluster_domain": "clusterDomain",
    "identity": "identity",
    "ingress_type": "ingressType",
    "namespace": "discovery.namespace",
}
"""What an importer's RemoteMesh says of an exporter that the exporter itself says too, and the field there."""
OF_IMPORTER: Final = ("network", "trust_domain", "identity")
"""What of that matters where an exporter describes an importer."""


class MeshDescription(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A mesh as its own MeshFederation describes it, or as another's RemoteMesh does."""

    name: str
    network: str = ""
    trust_domain: str = ""
    cluster_domain: str = ""
    ingress_type: str = ""
    identity: str = ""
    """Of its controller, where that is known."""
    namespace: str = ""
    """Of its controller."""


class Told(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What discovery tells of a host. ``identities`` are ``None`` where it cannot be seen who serves it."""

    ports: tuple[Port, ...] = ()
    identities: tuple[str, ...] | None = None
    sni_host: str = ""


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """One side's links of a chain. ``whose`` says which side, ``mesh`` is this one, ``remote`` the other as it is
    described here; of one that is not, the name alone.

    ``service`` is the exporter's, as ``namespace/name``, and ``imported_as`` the importer's. ``told`` is what the
    exporter tells the importer, and what the importer has recorded; ``None`` where that is nothing.
    """

    whose: Whose
    mesh: MeshDescription
    remote: MeshDescription
    host: str
    taken: str
    links: tuple[ChainLink, ...]
    told: Told | None = None
    service: str = ""
    imported_as: str = ""
    ways: tuple[str, ...] = ()
    """The IPs of the exporter's gateway with their ports, as this side has them; none where any is a name."""

    @property
    def exporter(self) -> str:
        """The name of the exporter, as this side knows it."""
        return (self.mesh if self.whose is Whose.EXPORTER else self.remote).name

    @property
    def importer(self) -> str:
        """The name of the importer, as this side knows it."""
        return (self.remote if self.whose is Whose.EXPORTER else self.mesh).name


class PartDocument(msgspec.Struct, frozen=True):
    """The parts that one mesh's owner gives to another's."""

    parts: tuple[Part, ...]


def of_federation(federation: MeshFederation, namespace: str, account: str) -> MeshDescription:
    """Return a mesh as its MeshFederation describes it; ``account`` is its controller's, empty where it is not seen."""
    spec = federation.spec
    return MeshDescription(
        federation.metadata.name,
        network=spec.network,
        trust_domain=spec.trust_domain,
        cluster_domain=spec.cluster_domain,
        ingress_type=spec.ingress.type,
        identity=str(SpiffeID.of_workload(spec.trust_domain, namespace, account)) if account else "",
        namespace=namespace,
    )


def of_remote(remote: RemoteMesh) -> MeshDescription:
    """Return a mesh as a RemoteMesh describes it."""
    spec = remote.spec
    return MeshDescription(
        remote.metadata.name,
        network=spec.network,
        trust_domain=spec.trust_domain,
        cluster_domain=spec.cluster_domain,
        ingress_type=spec.ingress_type,
        identity=spec.identity or "",
        namespace="" if spec.discovery.address else spec.discovery.namespace,  # then nobody is called by it
    )


def is_described_as(described: MeshDescription, mesh: MeshDescription, others: Iterable[MeshDescription] = ()) -> bool:
    """Whether a RemoteMesh is of a mesh: by its name, else by its network, where no other has the name."""
    if described.name == mesh.name:
        return True
    named = any(other.name == mesh.name for other in others)
    return not named and bool(described.network) and described.network == mesh.network


def differences(remote: MeshDescription, here: str, mesh: MeshDescription, fields: Iterable[str]) -> Iterator[str]:
    """Yield in what a RemoteMesh of the mesh ``here`` differs from what the mesh that it is of says of itself."""
    if not remote.network:
        return  # there is no RemoteMesh, which another link says
    if remote.name != mesh.name:
        yield f"RemoteMesh {remote.name} of {here} is mesh {mesh.name}, and has to be named so"
    for field in fields:
        said, is_ = getattr(remote, field), getattr(mesh, field)
        if said and is_ and said != is_:
            yield f"`{FIELDS[field]}` of RemoteMesh {remote.name} is {said}, and {mesh.name}'s is {is_}"


def of_ips(addresses: Sequence[GatewayAddress]) -> tuple[str, ...]:
    """Return addresses in words; nothing where one is a name, which may be any address."""
    return tuple(map(str, addresses)) if all(is_ip(one.host) for one in addresses) else ()


def redacted(part: Part) -> Part:
    """Return a part as the other mesh's owner may have it.

    It has no addresses. Of a link that holds nothing is said but that. Of another the message stays only where it can
    name nothing but the host, rules, meshes and identities; else the reason's own sentence takes its place. Policies
    are named to whom the host is offered.
    """
    return msgspec.structs.replace(part, links=tuple(_redacted(link, part) for link in part.links), ways=())


def _redacted(link: ChainLink, part: Part) -> ChainLink:
    if link.state is State.OK:
        return msgspec.structs.replace(link, message="", remedy="")
    if link.name is LinkName.POLICY and part.told is None:
        return after((link.name,), LinkName.OFFERED)[0]
    if link.reason in _TOLD or not link.reason:
        return link
    return msgspec.structs.replace(link, message=sentence(link.reason), remedy="")


def written(parts: tuple[Part, ...]) -> PartDocument:
    """Return the document that goes to the other owner."""
    return PartDocument(tuple(map(redacted, parts)))


def read(document: object) -> tuple[Part, ...]:
    """Return the parts that another owner wrote; raises ``ValueError``, which names what is wrong."""
    if not isinstance(document, dict) or document.get("kind") != PART_KIND:
        raise ValueError(f"it has no `kind: {PART_KIND}`: it has to be what `meshfed explain HOST --export FILE` wrote")
    try:
        parts = msgspec.convert(document, PartDocument).parts
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    for part in parts:
        wrong = [link.name for link in part.links if LINKS[link.name][0] not in {part.whose, Whose.EITHER}]
        if wrong or part.whose is Whose.EITHER:
            raise ValueError(f"parts: the {part.whose}'s cannot have the link {wrong[0] if wrong else '-'}")
    return parts
