"""The documents that commands print as JSON or YAML: of each kind, what its items are."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshfed.views.checks.results import CheckView
from meshfed.views.exports import ExportView
from meshfed.views.imports import ImportView
from meshfed.views.meshes import MeshView
from meshfed.views.remotes import RemoteView
from meshfed.views.requests import RequestView

API_VERSION: Final = "cli.federation.openshift-service-mesh.io/v1alpha1"
"""Of every document. A later version may add a field; none is taken away, and none changes its meaning."""
LISTS: Final[dict[str, type[msgspec.Struct]]] = {
    "CheckList": CheckView,
    "ExportList": ExportView,
    "ImportList": ImportView,
    "MeshList": MeshView,
    "RemoteList": RemoteView,
    "RequestList": RequestView,
}
"""Documents that have ``items``, and ``unreached``: the clusters that could not be looked at."""


class Unreached(msgspec.Struct, frozen=True):
    """A cluster of which nothing is known, and why, in words."""

    source: str
    why: str


def schemas() -> dict[str, Any]:
    """Return the JSON schema of all documents; ``$defs`` has that of each kind under its name."""
    _, parts = msgspec.json.schema_components([*LISTS.values(), Unreached], ref_template="#/$defs/{name}")
    lists = {
        kind: {
            "type": "object",
            "required": ["apiVersion", "kind", "items"],
            "additionalProperties": False,
            "properties": {
                "apiVersion": {"const": API_VERSION},
                "kind": {"const": kind},
                "items": {"type": "array", "items": {"$ref": f"#/$defs/{item.__name__}"}},
                "unreached": {"type": "array", "items": {"$ref": f"#/$defs/{Unreached.__name__}"}},
            },
        }
        for kind, item in LISTS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in sorted(lists)],
        "$defs": dict(sorted({**parts, **lists}.items())),
    }
