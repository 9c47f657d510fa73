"""MeshConfig: what an administrator says of the whole mesh, as istiod reads it (``mesh.ApplyMeshConfig``)."""

from __future__ import annotations

from typing import Annotated, Final

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
    try:
        stated = msgspec.convert(documents[0] if documents else {}, _Stated)
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
