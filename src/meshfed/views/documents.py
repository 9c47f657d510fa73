"""The documents that commands print as JSON or YAML: of each kind, what its items are."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshfed.views.exports import ExportView
from meshfed.views.imports import ImportView
from meshfed.views.meshes import MeshView
from meshfed.views.plan_diffs import PlanDiffView
from meshfed.views.remotes import RemoteView
from meshfed.views.requests import RequestView

API_VERSION: Final = "cli.federation.openshift-service-mesh.io/v1alpha1"
"""Of every document. A later version may add a field; none is taken away, and none changes its meaning."""
LISTS: Final[dict[str, type[msgspec.Struct]]] = {
    "ExportList": ExportView,
    "ImportList": ImportView,
    "MeshList": MeshView,
    "RemoteList": RemoteView,
    "RequestList": RequestView,
}
"""Documents that have ``items``, and ``unreached``: the clusters that could not be looked at."""
WHOLE: Final[dict[str, type[msgspec.Struct]]] = {"PlanDiff": PlanDiffView}
"""Documents that have the fields of one thing."""


class Unreached(msgspec.Struct, frozen=True):
    """A cluster of which nothing is known, and why, in words."""

    source: str
    why: str


def schemas() -> dict[str, Any]:
    """Return the JSON schema of all documents; ``$defs`` has that of each kind under its name."""
    structs = (*LISTS.values(), *WHOLE.values(), Unreached)
    _, parts = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    kinds = {kind: _list(kind, item) for kind, item in LISTS.items()}
    kinds |= {kind: _whole(kind, parts.pop(one.__name__)) for kind, one in WHOLE.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in sorted(kinds)],
        "$defs": dict(sorted({**parts, **kinds}.items())),
    }


def _list(kind: str, item: type[msgspec.Struct]) -> dict[str, Any]:
    fields = {
        "items": {"type": "array", "items": {"$ref": f"#/$defs/{item.__name__}"}},
        "unreached": {"type": "array", "items": {"$ref": f"#/$defs/{Unreached.__name__}"}},
    }
    return _document(kind, fields, ["items"])


def _whole(kind: str, struct: dict[str, Any]) -> dict[str, Any]:
    described = {"description": struct["description"]} if "description" in struct else {}
    return described | _document(kind, struct["properties"], struct["required"])


def _document(kind: str, fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["apiVersion", "kind", *required],
        "additionalProperties": False,
        "properties": {"apiVersion": {"const": API_VERSION}, "kind": {"const": kind}, **fields},
    }
