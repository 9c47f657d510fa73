"""Objects on their way in and out: from a request's body to what is stored, and from there to what a reader sees.

Stored objects carry neither ``apiVersion`` nor ``kind``; both belong to the resource they are read through, and so do
the few field names in which two APIs over the same objects differ (Events).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Stored

JSONObject = dict[str, Any]

_encode: Final = msgspec.json.Encoder().encode

_EVENT_NAMES: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""How events.k8s.io names what the core group's Event, the stored form, has under other names."""
_EVENT_NAMES_BACK: Final = {stored: name for name, stored in _EVENT_NAMES.items()}


def to_stored(resource: Resource, obj: JSONObject) -> JSONObject:
    """What is stored of ``obj``, an object of ``resource``; a new mapping with the same values."""
    if resource.group == "events.k8s.io":
        obj = {_EVENT_NAMES.get(key, key): value for key, value in obj.items()}
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}


def from_stored(resource: Resource, obj: JSONObject) -> JSONObject:
    """``obj``, as stored, as an object of ``resource``; a new mapping with the same values."""
    if resource.group == "events.k8s.io":
        obj = {_EVENT_NAMES_BACK.get(key, key): value for key, value in obj.items()}
    return {"kind": resource.kind, "apiVersion": resource.api_version, **obj}


def encoded(resource: Resource, stored: Stored) -> bytes:
    """``stored`` as JSON for a reader of ``resource``."""
    if resource.group == "events.k8s.io":
        return _encode(from_stored(resource, stored.object))
    return stored.full(resource.api_version, resource.kind)


def encoded_item(resource: Resource, stored: Stored) -> bytes:
    """``stored`` as JSON inside a list: only custom resources repeat ``apiVersion`` and ``kind`` there."""
    if resource.custom or resource.group == "events.k8s.io":
        return encoded(resource, stored)
    return stored.body()


def partial(stored: Stored) -> JSONObject:
    """The object's metadata alone, as a PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": stored.metadata}
