"""The documents that commands print as JSON or YAML, or serve to their page: of each kind, what its items are."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshfed.views import API_VERSION
from meshfed.views.cards import MeshCard
from meshfed.views.checks.results import CheckView
from meshfed.views.explain.explanation import Explanation
from meshfed.views.explain.parts import PART_KIND, PartDocument
from meshfed.views.exports import ExportView
from meshfed.views.federation_map import FederationView
from meshfed.views.hosts import HostPage
from meshfed.views.imports import ImportView
from meshfed.views.links import DriftView
from meshfed.views.measurements import Measurement
from meshfed.views.meshes import MeshView
from meshfed.views.paths import PathView
from meshfed.views.plan_diffs import PlanDiffView
from meshfed.views.propagation import PropagationView
from meshfed.views.remotes import RemoteView
from meshfed.views.requests import RequestView
from meshfed.views.snapshot import Unreached
from meshfed.views.timeline import TimelinePage
from meshfed.views.unlinking import UnlinkedHostView

LISTS: Final[dict[str, type[msgspec.Struct]]] = {
    "CheckList": CheckView,
    "ExportList": ExportView,
    "DriftList": DriftView,
    "ImportList": ImportView,
    "MeasurementList": Measurement,
    "MeshList": MeshView,
    "PathList": PathView,
    "PropagationList": PropagationView,
    "RemoteList": RemoteView,
    "RequestList": RequestView,
    "UnlinkedHostList": UnlinkedHostView,
}
"""Documents that have ``items``, and ``unreached``: the clusters that could not be looked at."""
SINGLE: Final[dict[str, type[msgspec.Struct]]] = {
    "Explanation": Explanation,
    "Federation": FederationView,
    "HostPage": HostPage,
    "MeshCard": MeshCard,
    PART_KIND: PartDocument,
    "PlanDiff": PlanDiffView,
    "Propagation": PropagationView,
    "TimelinePage": TimelinePage,
}
"""Documents that are one thing; of these too ``unreached`` may be beside."""


def schemas() -> dict[str, Any]:
    """Return the JSON schema of all documents; ``$defs`` has that of each kind under its name."""
    structs = (*LISTS.values(), *SINGLE.values(), Unreached)
    _, parts = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    kinds = {kind: _list(kind, item) for kind, item in LISTS.items()}
    kinds |= {kind: _single(kind, parts[one.__name__]) for kind, one in SINGLE.items()}
    for alone in set(SINGLE.values()) - set(LISTS.values()):
        del parts[alone.__name__]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in sorted(kinds)],
        "$defs": dict(sorted({**parts, **kinds}.items())),
    }


def _list(kind: str, item: type[msgspec.Struct]) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/$defs/{item.__name__}"}}
    return _document(kind, {"items": items}, ["items"])


def _single(kind: str, struct: dict[str, Any]) -> dict[str, Any]:
    described = {"description": struct["description"]} if "description" in struct else {}
    return described | _document(kind, struct["properties"], struct["required"])


def _document(kind: str, fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    unreached = {"type": "array", "items": {"$ref": f"#/$defs/{Unreached.__name__}"}}
    return {
        "type": "object",
        "required": ["apiVersion", "kind", *required],
        "additionalProperties": False,
        "properties": {"apiVersion": {"const": API_VERSION}, "kind": {"const": kind}, **fields, "unreached": unreached},
    }
