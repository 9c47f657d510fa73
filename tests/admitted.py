"""Random objects that an API server takes, drawn from the schemas by which it judges them, most of all their edges.

A field that a schema gains is drawn by itself. What the sandbox's API server would refuse is left out, and the rest is
given as it would be stored: pruned, with defaults, without nulls that mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshfed.api.core import Namespace, Pod, Service
from meshfed.api.crds import KINDS
from meshfed.api.schema import structural
from meshfed.api.v1alpha1 import FINALIZER, OWNER_NAMESPACE_LABEL, REMOTE_LABEL
from meshfed.api.validation_rules import RULES
from meshfed.istio import reference
from meshfed.istio.names import EXPORT_TO, RESOLVED_FROM
from meshfed.model.reasons import ConditionType, Reason
from meshfed_sandbox.apiserver import metadata
from meshfed_sandbox.apiserver.builtin_defaults import BUILTIN_SCHEMAS
from meshfed_sandbox.apiserver.schema import Schema
from meshfed_sandbox.apiserver.schema_node import JsonObject
from meshfed_sandbox.istio_crds import istio_crds

TIMES: Final = (
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "0000-02-29T00:00:00Z",
    "0001-01-01T00:00:00-99:99",
    "9999-12-31T23:59:59.999999999+99:99",
    "2026-01-01t00:00:00z",
    "2026-01-01T00:00:00.123456789Z",
    "2026-01-01T00:00:00,5+00:00",
    "2026-01-01T00:00:0012Z",
    "2026-01-01T00:00:00Zt\u0000",
)
"""Times that strfmt's IsDateTime takes, by which an API server judges the format date-time."""
NUMBERS: Final = (-(2**63), -(2**31), -1, 0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1)
TEXTS: Final = (
    "",
    " ",
    "\u0000",
    "\u00b2",
    "\u0663",
    "1" * 5000,
    "a" * 300,
    "\u2028\u202e",
    "\U0001f984",
    "\u00df.example",
    ".",
    "..",
    "*",
    "None",
    "null",
    "10.0.0.1",
    "fe80::1%eth0",
    "spiffe://cluster.local/ns/a/sa/b",
    "a.default.svc.cluster.local",
)

_HOSTS: Final = st.sampled_from(
    ["a.default.svc.cluster.local", "b.default.svc.cluster.local", "a.shop.svc.cluster.local", "x.example.com"]
)
_REMOTES: Final = st.sampled_from(["west", "north", "east"])
_LABELS: Final = {"app": "a", "export-service": "true", "security.istio.io/tlsMode": "istio"}
_IDENTITIES: Final = st.sampled_from(
    ["/ns/istio-system/sa/federation-controller", "/x", "/ns/../sa/x", "/" + "a" * 2000]
).map("spiffe://cluster.local".__add__)
_KNOWN: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "remote": _REMOTES,
    "host": _HOSTS,
    "hosts": st.lists(_HOSTS, max_size=2, unique=True),
    "importedAs": _HOSTS,
    "sniHost": _HOSTS,
    "type": st.sampled_from([kind.value for kind in ConditionType]),
    "reason": st.sampled_from([reason.value for reason in Reason]),
    "status": st.sampled_from(["True", "False", "Unknown"]),
    "selector": st.just({"app": "a"}),
    "matchLabels": st.just({"app": "a"}),
    "addresses": st.sampled_from([["192.0.2.10"], ["gw.example"], ["gw.example", "::1"]]),
    "trustDomain": st.just("cluster.local"),
    "clusterDomain": st.just("cluster.local"),
    "identities": st.just(["spiffe://cluster.local/ns/default/sa/a"]),
    "sni": st.sampled_from(["outbound_.80_._.a.default.svc.cluster.local", f"outbound_.{'1' * 5000}_._.a.b.svc.c"]),
    "address": st.sampled_from(["10.0.0.1", "gw.example", "fe80::1%eth0"]),
    "ports": st.just([{"number": 80, "name": "http", "protocol": "HTTP"}]),
}
"""What makes objects speak of each other: fields that have one of these half of the time, where the schema takes it."""
_MATCHES: Final = re.compile(r"self\.matches\(r'(.*)'\)")
_HOLDS: Final = {rule.cel: rule.holds for rule in RULES}


def times() -> st.SearchStrategy[str]:
    """Times as an API server takes them."""
    moment = st.from_regex(
        r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
        r"([.,][0-9]{1,12})?([Zz]|[+-][0-9]{2}:[0-9]{2})",
        fullmatch=True,
    )
    return st.sampled_from(TIMES) | moment


def values(schema: JsonObject, name: str = "") -> st.SearchStrategy[Any]:
    """What ``schema`` allows, as far as it says so by itself; ``name`` is the field that it is of."""
    if name == "identity" and "pattern" in schema:
        return _IDENTITIES  # one of another trust domain than the object's is refused
    drawn = _drawn(schema)
    for rule in schema.get("x-kubernetes-validations", ()):
        pattern = _MATCHES.fullmatch(rule["rule"])
        if pattern is not None:
            drawn = st.from_regex(pattern[1], fullmatch=True)
        elif rule["rule"] in _HOLDS and schema.get("type") != "object":
            drawn = drawn.filter(_HOLDS[rule["rule"]])
    return _KNOWN[name] | drawn if name in _KNOWN and _takes_known(schema, name) else drawn


def _takes_known(schema: JsonObject, name: str) -> bool:
    if name == "ports":
        return "number" in schema.get("items", {}).get("properties", {})
    if name == "selector":
        return "additionalProperties" in schema  # not one by `matchLabels`
    return schema.get("type") in {"string", "array", "object"} and not {"enum", "x-kubernetes-validations"} & set(
        schema
    )


def _drawn(schema: JsonObject) -> st.SearchStrategy[Any]:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    match schema:
        case {"enum": allowed}:
            return st.sampled_from(allowed)
        case {"x-kubernetes-int-or-string": True}:
            return st.sampled_from(NUMBERS) | st.sampled_from(TEXTS)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer"}:
            least, most = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1)
            edges = [number for number in (least, most, *NUMBERS) if least <= number <= most]
            return st.sampled_from(edges) | st.integers(least, most)
        case {"type": "number"}:
            return st.floats(allow_nan=False, allow_infinity=False)
        case {"type": "string", "format": "date-time"}:
            return times()
        case {"type": "string", "pattern": pattern}:
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: low <= len(text) <= (high or 10**6))
        case {"type": "string"}:
            fitting = [text for text in TEXTS if low <= len(text) <= (high or 10**6)]
            if high is not None:
                fitting.append("\U0001f984" * high)
            return st.sampled_from(fitting) | st.text(min_size=low, max_size=min(high or 20, 20))
        case {"type": "array"}:
            return st.lists(
                values(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=max(schema.get("minItems", 0), 2),
                unique_by=_identity(schema),
            )
        case {"additionalProperties": dict(inner)}:
            keys = st.sampled_from([*_LABELS, "", "\u0000", "a" * 300]) | st.text(max_size=10)
            return st.dictionaries(keys, values(inner), min_size=schema.get("minProperties", 0), max_size=3)
        case {"properties": dict(fields)}:
            required = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {field: values(inner, field) for field, inner in fields.items() if field in required},
                optional={field: values(inner, field) for field, inner in fields.items() if field not in required},
            )
    return st.recursive(
        st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=5,
    ).map(lambda anything: anything if isinstance(anything, dict) else {"any": anything})


def _identity(schema: JsonObject) -> Any:
    match schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys"):
        case "set", _:
            return repr
        case "map", list(keys):
            return lambda item: tuple(repr(item.get(key)) for key in keys)
    return id


def _metadata(name: st.SearchStrategy[str]) -> st.SearchStrategy[JsonObject]:
    """What Kubernetes takes for metadata; the API server itself says when an object was made, or is being deleted."""
    labels = st.dictionaries(
        st.sampled_from([*_LABELS, OWNER_NAMESPACE_LABEL, REMOTE_LABEL, reference.LABEL, "x", "a.b/" + "C" * 63]),
        st.sampled_from([*_LABELS.values(), reference.VALUE, "", "Z" * 63]),
        max_size=3,
    )
    annotations = st.dictionaries(
        st.sampled_from([EXPORT_TO, RESOLVED_FROM, "example.com/a", "federation.openshift-service-mesh.io/paused"]),
        st.sampled_from(TEXTS),
        max_size=3,
    )
    made = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
    return st.fixed_dictionaries(
        {
            "name": name,
            "namespace": st.sampled_from(["istio-system", "default", "shop"]),
            "uid": st.sampled_from(["u1", "u2", "u3"]),
            "resourceVersion": st.integers(1, 2**64 - 1).map(str),
            "generation": st.integers(1, 2**63 - 1),
            "creationTimestamp": made,
            "deletionTimestamp": st.sampled_from(["", "", "", "2026-01-03T00:00:00Z"]),
            "labels": labels,
            "annotations": annotations,
            "finalizers": st.sampled_from([[], [FINALIZER], ["example.com/other"]]),
        }
    )


def _read(schema: JsonObject, projection: JsonObject) -> JsonObject:
    """``schema`` of a kind of Kubernetes, with the fields alone that we read of it; it has hundreds."""
    if "items" in schema:
        return schema | {"items": _read(schema["items"], projection["items"])}
    if "properties" not in schema or "properties" not in projection:
        return schema
    fields = {
        name: _read(inner, projection["properties"][name])
        for name, inner in schema["properties"].items()
        if name in projection["properties"]
    }
    return schema | {"properties": fields, "required": [name for name in schema.get("required", ()) if name in fields]}


def _schemas() -> dict[str, tuple[str, JsonObject]]:
    found = {kind.name: ("federation.openshift-service-mesh.io/v1alpha1", kind.schema) for kind in KINDS}
    for crd in istio_crds():
        version = crd["spec"]["versions"][0]
        api_version = f"{crd['spec']['group']}/{version['name']}"
        found[crd["spec"]["names"]["kind"]] = (api_version, version["schema"]["openAPIV3Schema"])
    for group_version, type_ in (("v1", Service), ("v1", Namespace), ("v1", Pod), ("coordination.k8s.io/v1", None)):
        kind = type_.__name__ if type_ is not None else "Lease"
        schema = BUILTIN_SCHEMAS[f"{group_version}/{kind}" if "/" in group_version else f"/{group_version}/{kind}"]
        projection = structural(type_, defaults=False) if type_ is not None else {}
        found[kind] = (group_version, _read(schema, projection))
    service = found["Service"][1]["properties"]["spec"]
    service["required"] = ["ports", "externalName"]  # without, hardly one would be taken
    service["properties"]["externalName"] = {"type": "string", "minLength": 1}
    service["properties"]["ports"] |= {"minItems": 1}
    return found


SCHEMAS: Final = _schemas()
"""The apiVersion of each kind, and its schema, as far as it is drawn from."""
_NAMES: Final = dict.fromkeys(("RemoteMesh", "MeshFederation"), _REMOTES)
_ANY_NAME: Final = st.sampled_from(["a", "b", "c", "federation-ingress-gateway-" + "9" * 200, "z" * 63])


def drawn(kind: str, number: int) -> list[JsonObject]:
    """Objects of ``kind`` as an API server hands them out: those that it takes of ``number``, always the same ones."""
    api_version, schema = SCHEMAS[kind]
    compiled = Schema.compile(schema)
    parts = {part: values(schema["properties"][part]) for part in ("spec", "status") if part in schema["properties"]}
    named = _metadata(_NAMES.get(kind, _ANY_NAME))
    found: list[JsonObject] = []

    @settings(
        max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.fixed_dictionaries({"metadata": named, **parts}))
    def draw(obj: JsonObject) -> None:
        obj |= {"apiVersion": api_version, "kind": kind}
        compiled.prune(obj)
        compiled.default(obj)
        metadata.normalise(obj["metadata"])
        if not compiled.validate(obj):
            found.append(obj)

    draw()
    return found
