"""Write what of the Helm chart follows from elsewhere: its CRDs, the schema and the table of its values.

The schema is read off `deploy/chart/values.yaml`: a value has the type of its default, and its comment is its
description. What a default cannot say is in ``_details``. The objects of the API and the reference's JSON bring schemas
of their own, so that a typo in them is found by Helm already.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from meshfed.api.crds import all_crds
from meshfed.api.reference_config import EXPORTED, IMPORTED, MESH_PEERS, flag_schemas

JSONObject = dict[str, Any]

VALUES = Path(__file__).resolve().parent.parent / "deploy" / "chart" / "values.yaml"
_COMMENT = re.compile(r"^ *# (-- )?(.*)$")
_KEY = re.compile(r"^( *)([A-Za-z]\w*):(?: (.*))?$")
_TYPES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
_NAME = {"pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", "maxLength": 63}
_LABEL_VALUE = {"pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", "maxLength": 63}
_OBJECT_NAME = {
    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$",
    "maxLength": 253,
}
_SECRETS = {
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1}},
        "required": ["name"],
        "additionalProperties": False,
    }
}
_OBJECTS = {"items": {"type": "object"}}
_TEMPLATE = {"pattern": "^([-A-Za-z0-9_.]+(,[-A-Za-z0-9_.]+)*)?$"}
_AMOUNTS = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_RESOURCES = {
    "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS, "claims": {"type": "array"}},
    "additionalProperties": False,
}
_STRINGS = {"additionalProperties": {"type": "string"}}

_HEADER = """# Meshfed's Helm chart

<!-- Generated from values.yaml by tools/generate_chart.py. -->

One release of it is the controller of one mesh. [Installing](../../docs/install.md) says how, and what comes before and
after it. Values that are not listed here are refused. A value that is null, as is `controller:` with nothing below it,
takes its default away: what may be empty is empty then, of anything else Helm says `missing property`.

## Values

| Value | Default | Description |
|---|---|---|
"""


class Value(NamedTuple):
    """A value that has a description: its path, its default as it is written, and what is said of it."""

    path: str
    default: str
    description: str


def described(text: str) -> Iterator[Value]:
    """The values of ``text``, a ``values.yaml``, that have a ``--`` comment."""
    places: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        said, key = _COMMENT.match(line), _KEY.match(line)
        if said and (said[1] or comment):
            comment = [said[2]] if said[1] else [*comment, said[2]]
        elif key:
            places = [place for place in places if place[0] < len(key[1])] + [(len(key[1]), key[2])]
            if comment:
                yield Value(".".join(name for _, name in places), key[3] or "", " ".join(comment))
            comment = []
        else:
            comment = []


def _closed(schema: JSONObject) -> JSONObject:
    """A structural schema as JSON Schema that refuses fields it does not name."""
    kept = {
        key: value for key, value in schema.items() if not key.startswith("x-") and key not in {"default", "format"}
    }
    if "properties" in kept:
        kept["properties"] = {name: _closed(value) for name, value in kept["properties"].items()}
        kept["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _closed(kept[key])
    return kept


def _spec(kind: str) -> JSONObject:
    crd = next(crd for crd in all_crds() if crd["spec"]["names"]["kind"] == kind)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return _closed(schema["properties"]["spec"])


def _if_given(schema: JSONObject) -> JSONObject:
    """What is there must be so; nothing at all is fine."""
    return {"if": {"minProperties": 1}, "then": schema}


def _flag(flag: str) -> JSONObject:
    schema = _closed(flag_schemas()[flag])
    if flag == MESH_PEERS:
        # The release's name is that of the mesh where it has none; the rest of it has to be there.
        schema["properties"]["local"]["required"] = ["gateways"]
        schema["required"] = ["local"]
    return schema


def _details() -> dict[str, JSONObject]:
    mesh_name = {"type": "string", "pattern": _NAME["pattern"], "maxLength": 34}
    remote = {
        "type": "object",
        "properties": {"name": mesh_name | {"minLength": 1}, "spec": _spec("RemoteMesh")},
        "required": ["name", "spec"],
        "additionalProperties": False,
    }
    return {
        "image.repository": {"pattern": "^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]([a-z0-9._/-]*[a-z0-9])?$"},
        "image.tag": {"pattern": "^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"},
        "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "imagePullSecrets": _SECRETS,
        "nameOverride": _NAME,
        "fullnameOverride": _NAME,
        "mesh.name": mesh_name,
        "mesh.spec": _if_given(_spec("MeshFederation")),
        "remotes": {"items": remote},
        "federation.meshPeers": _if_given(_flag(MESH_PEERS)),
        "federation.exportedServiceSet": _if_given(_flag(EXPORTED)),
        "federation.importedServiceSet": _if_given(_flag(IMPORTED)),
        "istio.namespace": _NAME,
        "istio.revision": _LABEL_VALUE,
        "istio.meshConfig": _OBJECT_NAME,
        "istio.spire.templateName": _TEMPLATE | {"minLength": 1},
        "istio.spire.gatewayTemplateName": _TEMPLATE,
        "controller.replicas": {"minimum": 0},
        "controller.dashboard.bindAddress": {"pattern": "^(.*:[0-9]{1,5})?$"},
        "controller.dashboard.hosts": {"items": {"type": "string", "pattern": "^[a-z0-9.-]+$"}},
        "controller.logLevel": {"enum": ["debug", "info", "warning", "error"]},
        "controller.logFormat": {"enum": ["text", "json"]},
        "controller.extraArgs": {"items": {"type": "string", "pattern": "^--"}},
        "controller.resources": _RESOURCES,
        "controller.podLabels": _STRINGS,
        "controller.podAnnotations": _STRINGS,
        "controller.nodeSelector": _STRINGS,
        "controller.tolerations": _OBJECTS,
        "controller.affinity": {},
        "controller.probe.trustBundle": _OBJECT_NAME | {"minLength": 1},
        "controller.probe.ports": {"minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
        "serviceAccount.name": _NAME | {"minLength": 1},
        "serviceAccount.annotations": _STRINGS,
        "uninstall.timeout": {"pattern": "^([0-9]+(h|m|s|ms))+$"},
        # A Service's name begins with a letter, unlike most.
        "gateway.name": {"pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
        "gateway.network": _LABEL_VALUE,
        "gateway.replicas": {"minimum": 0},
        "gateway.service.type": {"enum": ["LoadBalancer", "NodePort", "ClusterIP"]},
        "gateway.service.annotations": _STRINGS,
        "gateway.resources": _RESOURCES,
        "podMonitor.interval": {
            "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"
        },
        "podMonitor.labels": _STRINGS,
        "prometheusRule.labels": _STRINGS,
        "prometheusRule.runbooks": {"pattern": "^(https?://[^ ]+)?$"},
        "dashboard.labels": _STRINGS,
        "dashboard.annotations": _STRINGS,
        "networkPolicy.metricsFrom": _OBJECTS,
    }


def schema(values: JSONObject, said: dict[str, str], details: dict[str, JSONObject], path: str = "") -> JSONObject:
    """The JSON Schema of ``values``; what has no details may hold what is in it, and nothing else.

    Helm takes a default away where a value is null, before it looks at the schema. So whatever no template can do
    without is required: all but texts, lists and objects that may be empty.
    """
    properties: JSONObject = {}
    required = []
    for name, value in values.items():
        here = f"{path}.{name}".lstrip(".")
        found: JSONObject = {"type": _TYPES[type(value)]}
        if here in said:
            found["description"] = said[here]
        closed = isinstance(value, dict) and here not in details
        found |= schema(value, said, details, here) if closed else details.pop(here, {})
        properties[name] = found
        may_be_empty = isinstance(value, dict) or value in ([], "")
        if closed or not may_be_empty:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _line(row: Value) -> str:
    default = f"`{row.default}`" if row.default else "see values.yaml"
    description = row.description.replace("docs/api.md", "[the API](../../docs/api.md)")
    return f"| `{row.path}` | {default} | {description} |\n"


def main(output: Path) -> None:
    """Write the CRDs, ``values.schema.json`` and ``README.md`` below ``output``, the chart's directory."""
    text = VALUES.read_text()
    rows = list(described(text))
    details = _details()
    whole = schema(yaml.safe_load(text), {row.path: row.description for row in rows}, details)
    if details:
        raise SystemExit(f"values.yaml has no {', '.join(details)}: correct _details in {__file__}")
    whole["properties"]["global"] = {"type": "object", "description": "Helm's own, where this is a subchart."}
    condition = "A parent chart's condition for this one, where this is a subchart; read by nobody else."
    whole["properties"]["enabled"] = {"type": "boolean", "description": condition}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of Meshfed's chart"}
    (output / "values.schema.json").write_text(json.dumps(head | whole, indent=1) + "\n")
    (output / "README.md").write_text(_HEADER + "".join(map(_line, rows)))
    (output / "crds").mkdir(exist_ok=True)
    for crd in sorted((VALUES.parent.parent / "crds").glob("*.yaml")):
        if crd.name != "kustomization.yaml":
            (output / "crds" / crd.name).write_bytes(crd.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
