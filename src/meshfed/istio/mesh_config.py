"""MeshConfig: what an administrator says of the whole mesh, as istiod reads it (``mesh.ApplyMeshConfig``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from meshfed.api.documents import decode_documents
from meshfed.api.errors import InvalidDocument
from meshfed.model.installation import NAMESPACE
from meshfed.model.meshes import MeshConfig

_DEFAULT_TRUST_DOMAIN: Final = "cluster.local"
"""What istiod goes by where none is stated, as in the next one (``DefaultMeshConfig``)."""
_TrustDomain = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][-.a-z0-9]*$")]
"""With one of another form istiod refuses the whole (``ValidateTrustDomain``)."""


class _Stated(msgspec.Struct, frozen=True, rename="camel"):
    """The fields that matter; a null counts as left out."""

    trust_domain: _TrustDomain | None = None
    trust_domain_aliases: tuple[_TrustDomain, ...] | None = None
    default_service_export_to: tuple[str, ...] | None = None
    default_destination_rule_export_to: tuple[str, ...] | None = None
    root_namespace: str | None = None


def mesh_config(text: str, source: str) -> MeshConfig:
    """Return what of the YAML in ``text`` matters; ``source`` names where it is from, in errors and in messages.

    Raises:
        InvalidDocument: istiod would not take it either, and go on with what it had.
    """
    documents = decode_documents(text, source)
    return of_mesh_config(documents[0] if documents else {}, source)


def of_mesh_config(found: Mapping[str, Any], source: str) -> MeshConfig:
    """Return the same of what was decoded already; raises as ``mesh_config``."""
    try:
        stated = msgspec.convert(found, _Stated)
    except msgspec.ValidationError as error:
        raise InvalidDocument(source, f"no MeshConfig: {error}") from error
    return MeshConfig(
        source=source,
        trust_domain=stated.trust_domain or _DEFAULT_TRUST_DOMAIN,
        trust_domain_aliases=tuple(sorted(set(stated.trust_domain_aliases or ()))),
        default_service_export_to=stated.default_service_export_to or (),
        default_destination_rule_export_to=stated.default_destination_rule_export_to or (),
        root_namespace=NAMESPACE if stated.root_namespace is None else stated.root_namespace,
    )


def differing(one: MeshConfig, other: MeshConfig) -> list[str]:
    """Return the fields, by their names in MeshConfig, of which two configurations say something else."""
    fields = msgspec.structs.fields(_Stated)
    return [field.encode_name for field in fields if getattr(one, field.name) != getattr(other, field.name)]


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an istiod goes by that reads two of these, where ``over`` has the last word.

    As ``ApplyMeshConfig`` has it: a field that is stated takes the place of the same below, whole. But aliases add up,
    and of ``defaultConfig`` each field by itself is stated, and in its ``proxyMetadata`` each variable.
    """
    found = _stated_over(under, over)
    aliases = [*_list(under.get("trustDomainAliases")), *_list(over.get("trustDomainAliases"))]
    below, above = _mapping(under.get("defaultConfig")), _mapping(over.get("defaultConfig"))
    proxies = _stated_over(below, above)
    variables = _stated_over(_mapping(below.get("proxyMetadata")), _mapping(above.get("proxyMetadata")))
    proxies |= {"proxyMetadata": variables} if variables else {}
    return (
        found | ({"trustDomainAliases": aliases} if aliases else {}) | ({"defaultConfig": proxies} if proxies else {})
    )


def _stated_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return {**under, **{field: value for field, value in over.items() if value is not None}}


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []
