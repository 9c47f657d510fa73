"""An OpenAPI v3 schema, read once into a tree that everything else walks.

Validation, pruning, defaulting, strategic merge and field ownership all ask the same few questions of a schema (what
fields are there, how is this list keyed, may this map be merged); here they are answered in one vocabulary, whether
the schema came with a CustomResourceDefinition or is one of our built-in kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["INT_OR_STRING", "METADATA", "METADATA_NODE", "META_FIELDS", "JsonObject", "Node", "parse"]

JsonObject: TypeAlias = dict[str, Any]

META_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata"})

INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
"""The `anyOf` that often stands beside `x-kubernetes-int-or-string`."""

ListType = Literal["atomic", "set", "map"]


@dataclass(slots=True, eq=False)
class Node:
    """One level of a schema.

    Empty `types` means any type; `embedded` is a whole object with its own metadata; `native` belongs to a kind of
    Kubernetes itself, whose validation is not by schema there and says things in other words.
    """

    raw: JsonObject
    types: tuple[str, ...] = ()
    format: str = ""
    nullable: bool = False
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | bool | None = None
    items: Node | None = None
    required: tuple[str, ...] = ()
    preserve_unknown: bool = False
    embedded: bool = False
    list_type: ListType = "atomic"
    list_keys: tuple[str, ...] = ()
    map_atomic: bool = False
    merge_key: str = ""
    merge_lists: bool = False
    retain_keys: bool = False
    any_of: tuple[Node, ...] = ()
    one_of: tuple[Node, ...] = ()
    all_of: tuple[Node, ...] = ()
    negated: Node | None = None
    native: bool = False

    def child(self, key: str) -> Node | None:
        """The schema of the field or map entry `key`; None where it is not known."""
        found = self.properties.get(key)
        if found is None and isinstance(self.additional, Node):
            return self.additional
        return found


def parse(raw: JsonObject, *, native: bool = False) -> Node:
    """Reads an OpenAPI v3 schema (no `$ref`s) into a `Node`."""
    int_or_string = raw.get("x-kubernetes-int-or-string") is True
    kind = raw.get("type")
    additional = raw.get("additionalProperties")
    strategy = str(raw.get("x-kubernetes-patch-strategy", "")).split(",")
    node = Node(
        raw=raw,
        types=("integer", "string") if int_or_string else (kind,) if kind else (),
        format=raw.get("format", "").replace("-", ""),
        nullable=raw.get("nullable") is True,
        properties={name: parse(prop, native=native) for name, prop in raw.get("properties", {}).items()},
        additional=parse(additional, native=native) if isinstance(additional, dict) else additional,
        items=parse(raw["items"], native=native) if isinstance(raw.get("items"), dict) else None,
        required=tuple(raw.get("required") or ()),
        preserve_unknown=raw.get("x-kubernetes-preserve-unknown-fields") is True,
        embedded=raw.get("x-kubernetes-embedded-resource") is True,
        list_keys=tuple(raw.get("x-kubernetes-list-map-keys") or ()),
        map_atomic=raw.get("x-kubernetes-map-type") == "atomic",
        merge_key=raw.get("x-kubernetes-patch-merge-key", ""),
        merge_lists="merge" in strategy,
        retain_keys="retainKeys" in strategy,
        any_of=tuple(parse(s, native=native) for s in raw.get("anyOf") or ()),
        one_of=tuple(parse(s, native=native) for s in raw.get("oneOf") or ()),
        all_of=tuple(parse(s, native=native) for s in raw.get("allOf") or ()),
        negated=parse(raw["not"], native=native) if isinstance(raw.get("not"), dict) else None,
        native=native,
    )
    list_type = raw.get("x-kubernetes-list-type")
    if list_type in ("set", "map"):
        node.list_type = list_type
    elif list_type is None and node.merge_lists and "array" in node.types:
        node.list_type, node.list_keys = ("map", (node.merge_key,)) if node.merge_key else ("set", ())
    return node


_STRING: Final[JsonObject] = {"type": "string"}
_STRINGS: Final[JsonObject] = {"type": "object", "additionalProperties": _STRING}
_TIME: Final[JsonObject] = {"type": "string", "format": "date-time"}
_INTEGER: Final[JsonObject] = {"type": "integer"}
_BOOLEAN: Final[JsonObject] = {"type": "boolean"}

METADATA: Final[JsonObject] = {
    "type": "object",
    "description": "What every object carries: its name, and what identifies, labels and owns it.",
    "properties": {
        "annotations": {**_STRINGS, "description": "Free-form notes for tools; not used for selection."},
        "creationTimestamp": {**_TIME, "description": "When the object was created. Set by the server."},
        "deletionGracePeriodSeconds": {**_INTEGER, "description": "Seconds until it is gone. Set by the server."},
        "deletionTimestamp": {**_TIME, "description": "When deletion was asked for. Set by the server."},
        "finalizers": {
            "type": "array",
            "items": _STRING,
            "description": "Who must agree before the object may go.",
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "generateName": {**_STRING, "description": "Prefix of a name the server completes where there is none."},
        "generation": {**_INTEGER, "description": "Counts the changes of the desired state. Set by the server."},
        "labels": {**_STRINGS, "description": "Keys and values by which objects are organised and selected."},
        "managedFields": {
            "type": "array",
            "description": "Which manager set which fields. Kept by the server.",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "x-kubernetes-list-type": "atomic",
        },
        "name": {**_STRING, "description": "Unique within the namespace for a kind; never changes."},
        "namespace": {**_STRING, "description": "The space within which the name is unique; never changes."},
        "ownerReferences": {
            "type": "array",
            "description": "The objects this one depends on; when all are gone, it goes too.",
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "x-kubernetes-map-type": "atomic",
                "properties": {
                    "apiVersion": {**_STRING, "description": "API version of the owner."},
                    "blockOwnerDeletion": {**_BOOLEAN, "description": "Whether a foreground deletion waits for this."},
                    "controller": {**_BOOLEAN, "description": "Whether the owner is the managing controller."},
                    "kind": {**_STRING, "description": "Kind of the owner."},
                    "name": {**_STRING, "description": "Name of the owner."},
                    "uid": {**_STRING, "description": "UID of the owner."},
                },
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-merge-key": "uid",
            "x-kubernetes-patch-strategy": "merge",
        },
        "resourceVersion": {**_STRING, "description": "Opaque version for optimistic locking. Set by the server."},
        "selfLink": {**_STRING, "description": "No longer set."},
        "uid": {**_STRING, "description": "Identity of the object over space and time. Set by the server."},
    },
}
"""The schema of `metadata`, the same for every kind."""

METADATA_NODE: Final = parse(METADATA, native=True)
