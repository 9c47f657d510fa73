"""Objects as the API serves them, read into types; what is not known is refused with the place where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from meshfed_sandbox.dataplane.translate import schema, schema_destination_rules
from meshfed_sandbox.dataplane.translate.schema_envoy_filters import EnvoyFilterSpec
from meshfed_sandbox.dataplane.values import JSONObject, Untranslatable

S = TypeVar("S")

SPECS: Final[Mapping[str, Any]] = {
    "AuthorizationPolicy": schema.AuthorizationPolicySpec,
    "DestinationRule": schema_destination_rules.DestinationRuleSpec,
    "EnvoyFilter": EnvoyFilterSpec,
    "Gateway": schema.GatewaySpec,
    "PeerAuthentication": schema.PeerAuthenticationSpec,
    "ServiceEntry": schema.ServiceEntrySpec,
    "WorkloadEntry": schema.WorkloadEntrySpec,
    "Pod": schema.PodSpec,
    "Service": schema.ServiceSpec,
}
"""The kinds whose ``spec`` is read, and as what."""
KINDS: Final = frozenset({*SPECS, "EndpointSlice", "Namespace", "Node"})
"""Every kind that is read."""
WITHOUT_EFFECT: Final = {
    "NetworkPolicy": "nothing enforces it, so that every Pod can be reached",
    "ProxyConfig": "proxies are started as they always are",
    "Telemetry": "access logs are always written, and nothing else",
}
"""Kinds that change nothing here, though requests do not depend on them: why. Objects of any other are refused."""


class Object(msgspec.Struct, Generic[S], frozen=True):
    """An object of ``kind``."""

    kind: str
    meta: schema.Meta
    spec: S

    def __str__(self) -> str:
        return f"{self.kind} {self.meta.namespace}/{self.meta.name}"

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts by creation, then by name: the order in which istiod lets conflicting objects win."""
        return (self.meta.creation_timestamp or "", self.meta.name, self.meta.namespace)


def read(kind: str, objects: Iterable[JSONObject], spec: type[S]) -> list[Object[S]]:
    """The objects, oldest first.

    Raises ``Untranslatable`` for a field or value that is not known.
    """
    found = [Object(kind, meta_of(kind, raw), _convert(kind, raw, raw.get("spec") or {}, spec)) for raw in objects]
    return sorted(found, key=lambda each: each.age)


def meta_of(kind: str, raw: JSONObject) -> schema.Meta:
    """The metadata of an object."""
    return _convert(kind, raw, raw.get("metadata") or {}, schema.Meta)


def whole(kind: str, raw: JSONObject, type_: type[S]) -> S:
    """An object whose fields are not under ``spec``."""
    return _convert(kind, raw, raw, type_)


def part(kind: str, raw: JSONObject, field: str, type_: type[S]) -> S:
    """The part of an object under ``field``."""
    return _convert(kind, raw, raw.get(field) or {}, type_)


def refuse_unknown_kinds(objects: Mapping[str, Sequence[JSONObject]]) -> None:
    """Raise ``Untranslatable`` where there are objects of a kind that decides about requests, and is not read."""
    for kind in sorted(set(objects) - KINDS - set(WITHOUT_EFFECT)):
        for raw in objects[kind]:
            meta = meta_of(kind, raw)
            raise Untranslatable(f"{kind} {meta.namespace}/{meta.name}: this kind is not translated; delete it")


def without_effect(objects: Mapping[str, Sequence[JSONObject]]) -> list[str]:
    """A sentence for each object of a kind that changes nothing here."""
    return [
        f"{kind} {meta.namespace}/{meta.name}: has no effect here: {why}"
        for kind, why in WITHOUT_EFFECT.items()
        for meta in (meta_of(kind, raw) for raw in objects.get(kind, ()))
    ]


def _convert(kind: str, raw: JSONObject, value: Any, type_: type[S]) -> S:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        metadata = raw.get("metadata") or {}
        where = f"{kind} {metadata.get('namespace', '')}/{metadata.get('name', '')}"
        raise Untranslatable(f"{where}: {_explained(str(error), value)}") from None


def _explained(message: str, value: Any) -> str:
    """The library's message, with the field as a path and the value that stands there."""
    match = re.match(r"(.*?)(?: - at `(?:key in )?\$(.*?)`)?$", message)
    text, path = (match.group(1), match.group(2) or "") if match else (message, "")
    unknown = re.match(r"Object contains unknown field `(.*)`", text)
    if unknown:
        path, text = f"{path}.{unknown.group(1)}", "this field is not translated"
    found = value
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        try:
            found = found[name] if name else found[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return f"spec{path}: {text}"
    if not path:
        return f"spec: {text}"
    return f"spec{path}: {text}; its value is {msgspec.json.encode(found).decode()}"
