"""The constrained texts and numbers that the API's types are made of.

They stand apart so that a rule is written once: the CRD's schema, the decoding in the controller and the checks
of `meshfed plan` all read it from here. Patterns keep to what RE2 and Python's ``re`` read alike, and are anchored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from meshfed.model.names import MAX_MESH_NAME
from meshfed.model.offers import MAX_IDENTITIES

SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
"""A list in which order does not matter and nothing stands twice; server-side apply merges it entry by entry."""
ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-map-type": "atomic"}
"""A map that has one owner: server-side apply replaces it as a whole."""

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SHORT_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""For where a label is one of several, whose length nothing else can bound."""
_PLACEHOLDER: Final = r"(\{name\}|\{namespace\}|[a-z0-9])"
_ALIAS_LABEL: Final = f"{_PLACEHOLDER}(-*{_PLACEHOLDER})*"

DnsLabel = Annotated[
    str,
    Meta(
        title="DNS label: lower-case letters, digits and dashes, at most 63",
        pattern=f"^{_LABEL}$",
        min_length=1,
        max_length=63,
    ),
]
DnsName = Annotated[
    str,
    Meta(
        title="lower-case DNS name, of parts of at most 63 characters",
        pattern=rf"^{_SHORT_LABEL}(\.{_SHORT_LABEL})*$",
        min_length=1,
        max_length=253,
    ),
]
MeshName = Annotated[
    str,
    Meta(
        title="name of a mesh: a DNS label of at most 34 characters",
        pattern=f"^{_LABEL}$",
        min_length=1,
        max_length=MAX_MESH_NAME,
    ),
]
ServiceName = Annotated[
    str,
    Meta(
        title="name of a Service: a DNS label that starts with a letter",
        pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$",
        min_length=1,
        max_length=63,
    ),
]
LabelValue = Annotated[
    str, Meta(title="label value", pattern="^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]
Network = Annotated[
    str,
    Meta(
        title="network name, which has to be a label value",
        pattern="^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        min_length=1,
        max_length=63,
    ),
]
TrustDomain = Annotated[
    str,
    Meta(
        title="SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores",
        pattern="^[a-z0-9._-]+$",
        min_length=1,
        max_length=255,
    ),
]
SpiffeUri = Annotated[
    str,
    Meta(
        title="SPIFFE ID, such as spiffe://cluster.local/ns/istio-system/sa/federation-controller",
        # No segment of the path is . or ..: RE2 has no way to say that shorter.
        pattern=r"^spiffe://[a-z0-9._-]{1,255}(/(\.{0,2}[A-Za-z0-9_-][A-Za-z0-9._-]*|\.{3}[A-Za-z0-9._-]*))+$",
        max_length=2048,
    ),
]
SubjectAltNames = Annotated[tuple[SpiffeUri, ...], Meta(min_length=1, max_length=MAX_IDENTITIES, extra_json_schema=SET)]
Locality = Annotated[
    str,
    Meta(
        title="locality: region, region/zone or region/zone/subzone",
        pattern="^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2})?$",
        max_length=253,
    ),
]
PortNumber = Annotated[int, Meta(title="port number", ge=1, le=65535)]
PortName = Annotated[
    str,
    Meta(
        title="port name: lower-case letters, digits and dashes, at most 63",
        pattern=f"^{_LABEL}$",
        min_length=1,
        max_length=63,
    ),
]
PortGlob = Annotated[
    str,
    Meta(
        title="name of a port, or glob of names",
        pattern="^[a-z0-9*-]*[a-z*][a-z0-9*-]*$",
        min_length=1,
        max_length=63,
    ),
]
"""A number is no name here: it would be one in quotes alone."""
Ports = Annotated[tuple[PortNumber | PortGlob, ...], Meta(min_length=1, max_length=256)]
Percent = Annotated[int, Meta(title="percentage", ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Duration = Annotated[
    str,
    Meta(
        title="duration, such as 10m, 1h30m or 500ms",
        pattern="^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$",
        min_length=2,
        max_length=32,
    ),
]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Glob = Annotated[
    str,
    Meta(
        title="glob: lower-case letters, digits, dots, dashes and *",
        pattern="^[a-z0-9.*-]+$",
        min_length=1,
        max_length=253,
    ),
]
Globs = Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=256, extra_json_schema=SET)]
Address = Annotated[str, Meta(title="IP address or host name, or host:port", min_length=1, max_length=253)]
HostPort = Annotated[str, Meta(title="host:port", min_length=1, max_length=260)]
AliasHost = Annotated[
    str,
    Meta(
        title="host name in which {name} and {namespace} may stand for the offered ones",
        pattern=rf"^{_ALIAS_LABEL}(\.{_ALIAS_LABEL})+$",
        max_length=253,
    ),
]
Selector = Annotated[dict[str, LabelValue], Meta(min_length=1, max_length=64, extra_json_schema=ATOMIC)]
ExportTo = Annotated[
    tuple[
        Annotated[str, Meta(title="namespace, * or .", pattern=rf"^(\*|\.|{_LABEL})$", min_length=1, max_length=63)],
        ...,
    ],
    Meta(min_length=1, max_length=64),
]
"""Not a `SET`: server-side apply would add to the default, which nobody owns and so nobody can take out."""
IngressKind = Literal["istio", "openshift-router"]
