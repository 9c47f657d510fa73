"""The reference controller's flags, turned into the objects of our API, so that its users can change over as they are.

``--meshPeers``, ``--exportedServiceSet`` and ``--importedServiceSet`` are JSON. The reference refuses unknown fields,
and takes ``null`` for absent; so do we. What it does without being asked is set here: it imports all that a remote
offers, joins it with local Services, and takes plain TCP.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from meshfed.api.checks import check
from meshfed.api.errors import InvalidFlag, Problem, shown
from meshfed.api.meta import ObjectMeta
from meshfed.api.scalars import (
    SET,
    Address,
    DnsLabel,
    IngressKind,
    MeshName,
    PortName,
    PortNumber,
    Selector,
    TrustDomain,
)
from meshfed.api.schema import structural
from meshfed.api.v1alpha1 import (
    Discovery,
    Export,
    ExportRule,
    GatewayRef,
    ImportPolicy,
    ImportRule,
    LocalIngress,
    MeshFederation,
    MeshFederationSpec,
    PortConfig,
    RemoteMesh,
    RemoteMeshSpec,
)
from meshfed.api.validation_rules import ADDRESS
from meshfed.model.installation import NAMESPACE
from meshfed.model.selectors import LabelSelector

MESH_PEERS: Final = "--meshPeers"
EXPORTED: Final = "--exportedServiceSet"
IMPORTED: Final = "--importedServiceSet"


class ReferenceConfig(msgspec.Struct, frozen=True):
    """What the flags say.

    ``mesh`` is ``None`` where ``--meshPeers`` names no local mesh; ``warnings`` are sentences about what is accepted
    and has no effect. Networks may be empty, which the API itself does not allow.
    """

    mesh: MeshFederation | None
    remotes: tuple[RemoteMesh, ...]
    warnings: tuple[str, ...] = ()


class _Json(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of the reference's JSON."""


class _GatewayPort(_Json, frozen=True):
    name: PortName = "tls-passthrough"
    number: PortNumber = 15443


class _Ingress(_Json, frozen=True):
    selector: Selector
    port: _GatewayPort = _GatewayPort()


class _Gateways(_Json, frozen=True):
    ingress: _Ingress


class _ControlPlane(_Json, frozen=True):
    namespace: DnsLabel = NAMESPACE


class _Local(_Json, frozen=True):
    name: MeshName
    gateways: _Gateways
    control_plane: _ControlPlane = _ControlPlane()
    ingress_type: IngressKind = "istio"
    trust_domain: TrustDomain = "cluster.local"
    """Not the reference's, which admits whoever has a certificate: we ask who it is."""


class _Remote(_Json, frozen=True):
    name: MeshName
    addresses: Annotated[tuple[Address, ...], Meta(max_length=64, extra_json_schema=SET)] = ()
    """As a RemoteMesh has them; the reference takes no port in them."""
    ingress_type: IngressKind = "istio"
    port: PortNumber = 15443
    network: Annotated[str, Meta(max_length=63)] = ""
    trust_domain: TrustDomain = "cluster.local"
    """See ``_Local``."""


class _MeshPeers(_Json, frozen=True):
    local: _Local | None = None
    remotes: tuple[_Remote, ...] = ()


class _Rule(_Json, frozen=True):
    type: Literal["LabelSelector"] = "LabelSelector"
    label_selectors: tuple[LabelSelector, ...] = field(default=(), name="labelSelectors")


class _ServiceSet(_Json, frozen=True):
    rules: tuple[_Rule, ...] = ()

    @property
    def selectors(self) -> tuple[LabelSelector, ...]:
        """The selectors of all rules, of which one has to be met."""
        return tuple(selector for rule in self.rules for selector in rule.label_selectors)


J = TypeVar("J", bound=_Json)


def flag_schemas() -> dict[str, dict[str, Any]]:
    """The structural schema of each flag's JSON, by the flag."""
    types: dict[str, type[msgspec.Struct]] = {MESH_PEERS: _MeshPeers, EXPORTED: _ServiceSet, IMPORTED: _ServiceSet}
    return {flag: structural(type_, defaults=True) for flag, type_ in types.items()}


def reference_config(
    *, mesh_peers: str, exported_service_set: str, imported_service_set: str = "", namespace: str
) -> ReferenceConfig:
    """The objects that the flags stand for, as if they lay in ``namespace``, the controller's own.

    Raises InvalidFlag.
    """
    peers = _parsed(MESH_PEERS, mesh_peers, _MeshPeers)
    problems = _peer_problems(peers)
    if problems:
        raise InvalidFlag(MESH_PEERS, tuple(problems))
    exported = _parsed(EXPORTED, exported_service_set, _ServiceSet)
    imported = _parsed(IMPORTED, imported_service_set or "null", _ServiceSet)
    warnings = []
    if imported.selectors:
        warnings.append(
            f"{IMPORTED} has no effect, as in the reference: to choose what is imported, write a RemoteMesh with "
            "import rules instead of the flags"
        )
    if peers.local is None:
        warnings.append(f"{MESH_PEERS} names no local mesh, so nothing is federated: set local")
    return ReferenceConfig(
        mesh=_mesh(peers.local, exported, namespace) if peers.local else None,
        remotes=tuple(_remote(remote, namespace) for remote in peers.remotes),
        warnings=tuple(warnings),
    )


def _mesh(local: _Local, exported: _ServiceSet, namespace: str) -> MeshFederation:
    ingress = local.gateways.ingress
    rules = tuple(ExportRule(action="Export", labels=selector) for selector in exported.selectors)
    return MeshFederation(
        metadata=ObjectMeta(name=local.name, namespace=namespace),
        spec=MeshFederationSpec(
            network="",
            trust_domain=local.trust_domain,
            ingress=LocalIngress(
                type=local.ingress_type,
                gateway=GatewayRef(
                    selector=ingress.selector,
                    port_config=PortConfig(name=ingress.port.name, number=ingress.port.number),
                ),
            ),
            control_plane_namespace=local.control_plane.namespace,
            export=Export(rules=rules) if rules else None,
        ),
    )


def _remote(remote: _Remote, namespace: str) -> RemoteMesh:
    return RemoteMesh(
        metadata=ObjectMeta(name=remote.name, namespace=namespace),
        spec=RemoteMeshSpec(
            network=remote.network,
            trust_domain=remote.trust_domain,
            addresses=remote.addresses,
            port=remote.port,
            ingress_type=remote.ingress_type,
            discovery=Discovery(namespace=NAMESPACE),
            # The reference announces nobody, and no flag states anybody: whoever has a certificate will do, as there.
            import_=ImportPolicy(
                merge=True, allow_tcp=True, rules=(ImportRule(action="Import", subject_alt_names=()),)
            ),
        ),
    )


def _peer_problems(peers: _MeshPeers) -> list[Problem]:
    problems = []
    taken = {peers.local.name: "local.name"} if peers.local else {}
    for index, remote in enumerate(peers.remotes):
        here = f"remotes[{index}]"
        if remote.name in taken:
            reason = f"{taken[remote.name]} has this name already: give each mesh its own"
            problems.append(Problem(f"{here}.name", reason, shown(remote.name)))
        taken.setdefault(remote.name, f"{here}.name")
        problems += [
            Problem(f"{here}.addresses[{number}]", ADDRESS.message, shown(address))
            for number, address in enumerate(remote.addresses)
            if not ADDRESS.holds(address)
        ]
    return problems


def _parsed(flag: str, text: str, type_: type[J]) -> J:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"not JSON, {error}: give it as the reference's chart does, or null"
        raise InvalidFlag(flag, (Problem("", reason, shown(text)),)) from None
    filled, problems = check({} if value is None else value, structural(type_, defaults=True))
    if problems:
        raise InvalidFlag(flag, tuple(problems))
    return msgspec.convert(filled, type_)
