"""The constrained texts and numbers that the API's types are made of.

They stand apart so that a rule is written once: the CRD's schema, the decoding in the controller and the checks
of `meshfed plan` all read it from here. Patterns keep to what RE2 and Python's ``re`` read alike, and are anchored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from meshfed.model.names import MAX_MESH_NAME

SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
"""A list in which order does not matter and nothing stands twice; server-side apply merges it entry by entry."""
ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-map-type": "atomic"}
"""A map that has one owner: server-side apply replaces it as a whole."""

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PLACEHOLDER: Final = r"(\{name\}|\{namespace\}|[a-z0-9])"
_ALIAS_LABEL: Final = f"{_PLACEHOLDER}(-*{_PLACEHOLDER})*"

DnsLabel = Annotated[str, Meta(pattern=f"^{_LABEL}$", min_length=1, max_length=63)]
DnsName = Annotated[str, Meta(pattern=rf"^{_LABEL}(\.{_LABEL})*$", min_length=1, max_length=253)]
MeshName = Annotated[str, Meta(pattern=f"^{_LABEL}$", min_length=1, max_length=MAX_MESH_NAME)]
ServiceName = Annotated[str, Meta(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
LabelValue = Annotated[str, Meta(pattern="^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Network = Annotated[str, Meta(pattern="^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", min_length=1, max_length=63)]
TrustDomain = Annotated[str, Meta(pattern="^[a-z0-9._-]+$", min_length=1, max_length=255)]
SpiffeUri = Annotated[str, Meta(pattern="^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$", max_length=2048)]
Locality = Annotated[str, Meta(pattern="^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2})?$", max_length=253)]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
PortName = Annotated[str, Meta(pattern=f"^{_LABEL}$", min_length=1, max_length=63)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Duration = Annotated[
    str, Meta(pattern="^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$", min_length=2, max_length=32)
]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Glob = Annotated[str, Meta(pattern="^[a-z0-9.*-]+$", min_length=1, max_length=253)]
Globs = Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=256, extra_json_schema=SET)]
Address = Annotated[str, Meta(min_length=1, max_length=253)]
HostPort = Annotated[str, Meta(min_length=1, max_length=260)]
AliasHost = Annotated[str, Meta(pattern=rf"^{_ALIAS_LABEL}(\.{_ALIAS_LABEL})+$", max_length=253)]
Selector = Annotated[dict[str, LabelValue], Meta(min_length=1, max_length=64, extra_json_schema=ATOMIC)]
ExportTo = Annotated[
    tuple[Annotated[str, Meta(pattern=rf"^(\*|\.|{_LABEL})$", min_length=1, max_length=63)], ...],
    Meta(min_length=1, max_length=64, extra_json_schema=SET),
]
IngressKind = Literal["istio", "openshift-router"]
