"""Typed objects out of JSON values, for commands that read what people wrote without an API server in between.

The controller does not come this way: what it decodes has passed the API server already.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from meshfed.api.checks import check
from meshfed.api.core import EndpointSlice, Namespace, Pod, Service
from meshfed.api.crds import KINDS
from meshfed.api.errors import InvalidObject, Problem, shown
from meshfed.api.meta import ObjectMeta
from meshfed.api.schema import Schema, structural
from meshfed.api.v1alpha1 import API_VERSION
from meshfed.model.names import is_dns_label, is_dns_name, is_label_key, is_label_value

T = TypeVar("T", bound=msgspec.Struct)

_TYPES: Final[dict[tuple[str, str], type[msgspec.Struct]]] = {
    **{(API_VERSION, kind.name): kind.type for kind in KINDS},
    ("v1", "Service"): Service,
    ("v1", "Namespace"): Namespace,
    ("v1", "Pod"): Pod,
    ("discovery.k8s.io/v1", "EndpointSlice"): EndpointSlice,
}
_UNUSED_METADATA: Final = (
    "deletionGracePeriodSeconds",
    "generateName",
    "managedFields",
    "ownerReferences",
    "selfLink",
)
"""Fields of metadata that Kubernetes knows and we do not use: with them known, a mistyped one can be told."""


def type_of(obj: dict[str, Any]) -> type[msgspec.Struct] | None:
    """The type that ``obj`` says it is, by apiVersion and kind; ``None`` where it is none of those we read."""
    version, kind = obj.get("apiVersion"), obj.get("kind")
    return _TYPES.get((version, kind)) if isinstance(version, str) and isinstance(kind, str) else None


def decode_object(obj: dict[str, Any], type_: type[T], *, source: str = "") -> T:
    """``obj`` as ``type_`` (one that ``type_of`` gives), with the defaults the API server would fill in.

    ``source`` names the file in errors. Raises InvalidObject with everything the API server would refuse.
    """
    metadata = obj.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    name = "/".join(str(named[part]) for part in ("namespace", "name") if named.get(part)) or "(without a name)"
    problems: list[Problem] = []
    if type_of(obj) is not type_:
        ((version, kind),) = (key for key, value in _TYPES.items() if value is type_)
        given = f"apiVersion {shown(obj.get('apiVersion'))} and kind {shown(obj.get('kind'))}"
        problems.append(Problem("", f"it has {given}, but must have {version} and {kind}"))
    filled, found = check(obj, manifest_schema(type_), strict=type_ not in {Service, Namespace, Pod, EndpointSlice})
    problems += found or _metadata_problems(filled["metadata"])
    if not problems:
        try:
            return msgspec.convert(filled, type_)
        except msgspec.ValidationError as error:
            problems.append(Problem("", str(error)))
    raise InvalidObject(source, type_.__name__, name, tuple(problems))


@lru_cache
def manifest_schema(type_: type[msgspec.Struct]) -> Schema:
    """The schema of a whole manifest of ``type_``; a CRD's own leaves metadata to the API server."""
    own = next((kind.schema for kind in KINDS if kind.type is type_), None) or structural(type_, defaults=False)
    metadata = structural(ObjectMeta, defaults=False) | {"required": ["name"]}
    metadata["properties"] |= {name: {"x-kubernetes-preserve-unknown-fields": True} for name in _UNUSED_METADATA}
    envelope = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata}
    required = ["apiVersion", "kind", "metadata", *own["required"]]
    return own | {"properties": own["properties"] | envelope, "required": list(dict.fromkeys(required))}


def _metadata_problems(metadata: dict[str, Any]) -> list[Problem]:
    problems = []
    name, namespace = metadata["name"], metadata.get("namespace", "")
    if not is_dns_name(name):
        problems.append(Problem("metadata.name", "it must be a lower-case DNS name", shown(name)))
    if namespace and not is_dns_label(namespace):
        problems.append(Problem("metadata.namespace", "it must be a DNS label", shown(namespace)))
    for key, value in metadata.get("labels", {}).items():
        if not is_label_key(key) or not is_label_value(value):
            problems.append(Problem(f"metadata.labels.{key}", "it is not a label Kubernetes takes", shown(value)))
    return problems
