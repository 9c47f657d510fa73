"""What the object logic is asked, in tables; what a real API server answers is in `recorded.json` beside them.

`python -m tests.sandbox.objects.record` asks again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

JsonObject = dict[str, Any]

_HERE = Path(__file__).parent
GROUP = "objects.example.com"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def schema(name: str) -> JsonObject:
    loaded: JsonObject = yaml.safe_load((_HERE / f"{name}.schema.yaml").read_text())
    return loaded


def recorded(table: str) -> Any:
    return json.loads((_HERE / "recorded.json").read_text())[table]


def answered(questions: Sequence[Any], table: str) -> list[tuple[Any, Any]]:
    """Each question with what the real server answered."""
    return list(zip(questions, recorded(table), strict=True))


def custom(kind: str, spec: Any = None, *, name: str = "it", **metadata: Any) -> JsonObject:
    """A custom resource; without `spec` where none is given."""
    made = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name, **metadata}}
    return made if spec is None else made | {"spec": spec}


class Step(NamedTuple):
    """One write in the life of an object."""

    verb: str
    """create, put, or the kind of patch: json, merge, strategic, apply, force."""
    manager: str
    body: Any


_VALUES: dict[str, list[Any]] = {
    "i": [0, 11, "x", 1.5, 5.0, True, None, {}, []],
    "xi": [1, 10, 1.5],
    "n": [0.1, 2, "a", 1, 1e30],
    "m": [3, 10],
    "s": ["a", "abcde", "AB", 3, "ab\n"],
    "e": ["c", 1],
    "ei": [3, "1"],
    "b": ["true", 0],
    "ios": [1.5, True, "x", {}],
    "ios2": ["5%", "x", 5, True],
    "l": [[], ["a", "b", "c"], ["abcd"], [1], "x", {}],
    "set": [["a", "a"], ["a", "a", "a", "b", "b"]],
    "iset": [[1, 1], [1, 2.0, 2]],
    "map": [
        [{"name": "a"}, {"name": "a"}],
        [{"v": 1}],
        [{"v": 3}, {"v": 4}],
        ["x"],
        [{"name": "a", "v": 1}, {"name": "a", "v": 5}],
    ],
    "map2": [[{"port": 1}, {"port": 1}], [{"port": 1, "protocol": "UDP"}, {"port": 1}]],
    "ap": [{"a": -1}, {"a": 1, "b": 2, "c": 3}, {"a": "x"}],
    "oo": [{}, {"a": "x", "b": "y"}, {"a": 1}],
    "oo2": [{}, {"a": "x", "k": "B"}, {"b": 3, "k": "B"}, {"k": "B"}, {"b": 6, "k": "A"}],
    "ao": [{}],
    "al": [{}, {"a": "x"}],
    "nt": [{"a": "x"}],
    "onot": [{"a": "x", "b": "y"}, {}],
    "ipv4": ["1.2.3", "::1", "1.2.3.4"],
    "dt": ["x", "2020-01-01T00:00:00Z", "2020-01-01", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z", 5],
    "d": ["1x", "5s", "1h30m", "1.5h", "5 minutes", "1d", ""],
    "by": ["@@", "YQ==", ""],
    "hn": ["a_b", "a.b", "-a", "A.b.c.", "localhost", "a..b"],
    "uri": ["x", "http://a", "/a b", "a:b"],
    "cidr": ["1.2.3.4", "10.0.0.0/8", "10.0.0.0/33"],
    "em": ["a", "a@b", "A <a@b>"],
    "uuid": ["x", "123e4567-e89b-12d3-a456-426614174000"],
    "i32": [99999999999, 1.0],
    "nul": [None, 1],
    "enul": [None, "b"],
    "pu": [{"k": "x", "z": 1}, {"z": {"a": None}}],
    "emb": [{}, {"apiVersion": "v1", "kind": "X", "metadata": {"foo": 1}}],
    "deep": [{"x": [{"y": {"z": 1}}]}],
    "df": [{"b": ["x"]}, {"a": None}],
    "unknown": [1, {"a": 1}],
}
SPECS: list[Any] = ["x", None, [], {}, {"req": 1}, {"req": None}]
SPECS += [{"req": "x", field: value} for field, values in _VALUES.items() for value in values]
"""Values for `spec` of a kind with the schema `values`."""

RULE_SPECS: list[JsonObject] = [
    {"a": 7},
    {"a": 3},
    {"b": "x"},
    {"dup": 1},
    {"rq": 1},
    {"m": {"xa": "1", "b": "2"}},
    {"nk": {}},
    {"n": 3},
    {"n": 2},
    {"namespace": "y"},
    {"namespace": "x"},
    {"da-sh": "y"},
    {"dur": "0.5s"},
    {"dur": "2s"},
    {"ios": 3},
    {"ios": "x"},
    {"ios": "5%"},
    {"div": 0},
    {"div": 3},
    {"idx": ["a"]},
    {"u": "ftp://x"},
    {"u": "http://x"},
    {"sc": "no"},
    {"l": ["a", "no"]},
    {"kl": [{"k": "a", "v": 100}]},
    {"kl": [{"k": "a"}]},
    {"ml": {"a": 5}},
    {"rootfp": 3},
    {"e": "z", "sc": "no"},
    {"mn": 1, "sc": "no"},
    {"a": 7, "sc": "no", "b": "q"},
    {"imm": "x", "opt": "y"},
]
"""Values for `spec` of a new object with the schema `rules`."""

TRANSITIONS: list[tuple[JsonObject, JsonObject]] = [
    ({"imm": "x"}, {"imm": "y"}),
    ({"imm": "x"}, {"imm": "x"}),
    ({}, {"imm": "x"}),
    ({"opt": "final"}, {"opt": "z"}),
    ({"opt": "a"}, {"opt": "z"}),
    (
        {"kl": [{"k": "a", "v": 5}, {"k": "b", "v": 7}]},
        {"kl": [{"k": "b", "v": 6}, {"k": "a", "v": 6}]},
    ),
    ({"imm": "x"}, {}),
    ({"e": "z", "a": 1}, {"e": "z", "a": 2}),
    ({"e": "z"}, {"e": "y"}),
    ({"mn": 1, "a": 1}, {"mn": 1, "a": 2}),
    ({"sc": "no", "a": 1}, {"sc": "no", "a": 2}),
    ({"obj": {"x": "toolong", "y": "a"}}, {"obj": {"x": "toolong", "y": "b"}}),
    ({"l": ["no"], "a": 1}, {"l": ["no"], "a": 2}),
    ({"l": ["no"], "a": 1}, {"l": ["no", "b"]}),
    ({"kl": [{"k": "a", "v": 200}], "a": 1}, {"kl": [{"k": "b", "v": 1}, {"k": "a", "v": 200}]}),
    ({"ml": {"a": 7}}, {"ml": {"a": 7, "b": 1}}),
    ({"ml": {"a": 7}}, {"ml": {"a": 8}}),
    ({"a": 7, "b": "ok"}, {"a": 7, "b": "ok", "mn": 5}),
    ({"a": 7}, {"a": 7}),
    ({"at": [{"x": "toolong"}], "a": 1}, {"at": [{"x": "toolong"}], "a": 2}),
    ({"at": [{"x": "toolong"}], "a": 1}, {"at": [{"x": "toolong"}, {"x": "b"}], "a": 2}),
]
"""Updates of `spec`; the old value was stored while the schema was laxer, so it need not be valid."""


def _with_rule(**rule: Any) -> JsonObject:
    spec = {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
    return {"type": "object", "properties": {"spec": spec}}


def _with_spec(**spec: Any) -> JsonObject:
    return {"type": "object", "properties": {"spec": spec}}


SCHEMAS: dict[str, JsonObject] = {
    "syntax error": _with_rule(rule="self.a &&"),
    "undefined field": _with_rule(rule="self.zz == 1"),
    "undeclared function": _with_rule(rule="foo(self.a)"),
    "undeclared variable": _with_rule(rule="bar == 1"),
    "empty rule": _with_rule(rule=" "),
    "message with a syntax error": _with_rule(rule="self.a == 1", messageExpression="1 +"),
    "good rule": _with_rule(rule="self.a == 1"),
    "field without type": _with_spec(properties={"a": {"type": "integer"}}),
    "root without type": {"properties": {"spec": {"type": "object"}}},
    "root is no object": {"type": "array", "items": {"type": "string"}},
    "array without items": _with_spec(type="array"),
    "items without type": _with_spec(type="array", items={}),
    "type in a branch": _with_spec(type="object", oneOf=[{"type": "object"}]),
    "description in a branch": _with_spec(type="string", anyOf=[{"description": "x", "minLength": 1}]),
    "default of the wrong type": _with_spec(type="object", properties={"a": {"type": "integer", "default": "x"}}),
    "keyed list without keys": _with_spec(type="array", **{"x-kubernetes-list-type": "map"}, items={"type": "object"}),
    "key that may be missing": _with_spec(
        type="array",
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]},
        items={"type": "object", "properties": {"a": {"type": "string"}}},
    ),
    "unknown list type": _with_spec(type="array", **{"x-kubernetes-list-type": "x"}, items={"type": "string"}),
    "properties and additionalProperties": _with_spec(
        type="object", properties={"a": {"type": "string"}}, additionalProperties={"type": "string"}
    ),
    "uniqueItems": _with_spec(type="array", uniqueItems=True, items={"type": "string"}),
    "more of metadata than its name": {
        "type": "object",
        "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
    },
    "name in metadata": {
        "type": "object",
        "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}},
    },
    "unknown type": _with_spec(type="strin"),
    "embedded resource without type": _with_spec(**{"x-kubernetes-embedded-resource": True}),
}
"""Schemas of a CustomResourceDefinition."""


def _sea(spec: Any = None, **metadata: Any) -> JsonObject:
    return custom("Ownership", spec, **metadata)


def _service(ports: list[JsonObject], **spec: Any) -> JsonObject:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it"}, "spec": {"ports": ports, **spec}}


def _deployment(container: JsonObject, **spec: Any) -> JsonObject:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container], **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "it", "labels": {"a": "b"}},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template},
    }


def _template(spec: JsonObject) -> JsonObject:
    return {"spec": {"template": {"spec": spec}}}


_EVERYTHING = {
    "a": 1,
    "b": "x",
    "am": {"k": "v"},
    "gm": {"k": "v"},
    "gmm": {"k": {"x": 1}},
    "al": ["a"],
    "set": ["a", "b"],
    "ml": [{"port": 1, "name": "n"}],
    "n": {"x": {"y": 1}, "w": [{"k": 1}]},
    "pu": {"q": {"r": [1]}},
}

LIVES: dict[str, list[Step]] = {
    "updates of a custom resource": [
        Step("create", "m1", _sea(_EVERYTHING, labels={"l": "m"})),
        Step("merge", "m2", {"spec": {"a": 2, "gm": {"z": "1"}, "pu": {"q": {"s": 2}}}}),
        Step("merge", "m2", {"spec": {"am": {"k2": "v2"}, "al": ["a", "b"], "set": ["b", "c"]}}),
        Step("merge", "m3", {"spec": {"gm": None, "b": None}}),
        Step("merge", "m3", {"spec": {"n": {"x": {"z": 3}}}}),
        Step("merge", "m4", {"spec": {"ml": [{"port": 1, "name": "q"}, {"port": 2, "protocol": "UDP"}]}}),
        Step("merge", "m5", {"spec": {"a": 2}}),
        Step("merge", "m5", {"spec": {"am": {}, "gm": {}, "al": [], "set": []}}),
        Step("merge", "m6", {"metadata": {"annotations": {"x": "y"}, "finalizers": ["a.b/c"]}}),
        Step("merge", "m6", {"metadata": {"finalizers": None}}),
        Step("merge", "m7", {"spec": None}),
    ],
    "two appliers": [
        Step("apply", "k1", _sea({"a": 1, "gm": {"k": "v"}, "ml": [{"port": 1, "name": "n"}], "set": ["a"]})),
        Step("apply", "k2", _sea({"a": 1, "b": "q"})),
        Step("apply", "k2", _sea({"a": 2})),
        Step("force", "k2", _sea({"a": 2, "b": "w"})),
        Step("apply", "k1", _sea({"gm": {"k": "v", "j": "w"}, "ml": [{"port": 2}], "set": ["b"]})),
        Step("apply", "k1", _sea({"gm": {"j": "w"}, "set": ["c", "b"]})),
        Step("apply", "k2", _sea({})),
        Step("apply", "k1", _sea()),
    ],
    "an applier among updaters": [
        Step("create", "cr", _sea({"a": 1, "b": "x", "gm": {"k": "v"}, "ml": [{"port": 1, "name": "n"}]})),
        Step("apply", "k1", _sea({"a": 1, "gm": {"k": "v"}, "ml": [{"port": 1, "name": "n"}]})),
        Step("apply", "k1", _sea({"a": 2, "b": "y", "gm": {"k": "w"}, "ml": [{"port": 1, "name": "m"}]})),
        Step("force", "k1", _sea({"a": 2, "ml": [{"port": 1, "name": "m", "protocol": "TCP"}]})),
        Step("apply", "k1", _sea({})),
    ],
    "lists, maps and what no schema describes": [
        Step("apply", "k1", _sea({"ml": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}, {"port": 3}]})),
        Step("apply", "k2", _sea({"ml": [{"port": 5}, {"port": 2, "name": "b"}, {"port": 4}]})),
        Step("apply", "k1", _sea({"ml": [{"port": 3}, {"port": 1, "name": "a"}]})),
        Step("apply", "k2", _sea({"ml": [{"port": 4}]})),
        Step("apply", "k3", _sea({"n": {"x": {"y": 1}}, "am": {"a": "b"}, "al": ["x"], "pu": {"z": {"y": 1}}})),
        Step("apply", "k3", _sea({"n": {"x": {"z": 1}}, "am": {"a": "c"}, "al": ["y"], "pu": {"z": {"w": 1}}})),
        Step("apply", "k4", _sea({"am": {"q": "r"}})),
        Step("apply", "k4", _sea({"gmm": {"a": {"x": 1}}})),
        Step("apply", "k5", _sea({"gmm": {"a": {"y": 1}}})),
        Step("apply", "k4", _sea({"gmm": {}})),
        Step("apply", "k4", _sea({"ios": 5})),
        Step("apply", "k5", _sea({"ios": "5%"})),
        Step("apply", "k4", _sea({"d": 7})),
        Step("apply", "k4", _sea(labels={"x": "y"}, annotations={"a": "b"})),
    ],
    "tracking ends and begins again": [
        Step("create", "cr", _sea({"a": 1, "b": "x"})),
        Step("merge", "m2", {"metadata": {"managedFields": [{}]}}),
        Step("merge", "m3", {"spec": {"a": 3}}),
        Step("apply", "k1", _sea({"b": "z"})),
        Step("force", "k1", _sea({"b": "z"})),
    ],
    "kubectl and an edit": [
        Step("apply", "kubectl", _sea({"a": 1, "b": "x"})),
        Step("merge", "edit", {"spec": {"a": 2}}),
        Step("apply", "kubectl", _sea({"a": 1, "b": "x"})),
        Step("force", "kubectl", _sea({"a": 1, "b": "x"})),
        Step("apply", "kubectl", _sea({"a": 1, "b": "x"})),
        Step("put", "p", {"spec": {"a": 1, "b": "x", "d": 7}}),
        Step("put", "p", {"spec": {"b": "x"}}),
        Step("put", "p", {"spec": {"b": "y", "gm": {"q": "r"}}}),
    ],
    "client-side apply, then server-side": [
        Step(
            "create",
            "kubectl-client-side-apply",
            _sea({"a": 1, "b": "x"}, annotations={LAST_APPLIED: json.dumps(_sea({"a": 1, "b": "x"})) + "\n"}),
        ),
        Step("apply", "kubectl", _sea({"a": 2, "b": "x"})),
        Step("apply", "other", _sea({"a": 3})),
        Step("apply", "kubectl", _sea({"a": 2})),
    ],
    "kubectl migrates the fields of client-side apply": [
        Step("create", "kubectl-client-side-apply", _sea({"a": 1, "b": "x"})),
        Step(
            "json",
            "kubectl",
            [
                {
                    "op": "replace",
                    "path": "/metadata/managedFields",
                    "value": [
                        {
                            "manager": "kubectl",
                            "operation": "Apply",
                            "apiVersion": f"{GROUP}/v1",
                            "fieldsType": "FieldsV1",
                            "fieldsV1": {"f:spec": {"f:a": {}, "f:b": {}}},
                        }
                    ],
                }
            ],
        ),
        Step("apply", "kubectl", _sea({"a": 2})),
    ],
    "many updaters": [
        Step("create", "cr", _sea({"b": "x"})),
        *[Step("merge", f"u{i:02d}", {"metadata": {"annotations": {f"k{i:02d}": "v"}}}) for i in range(13)],
    ],
    "a service": [
        Step("create", "m1", _service([{"name": "http", "port": 80}], selector={"a": "b"})),
        Step("strategic", "m2", {"spec": {"ports": [{"port": 81, "name": "b"}]}}),
        Step("strategic", "m3", {"spec": {"ports": [{"port": 80, "targetPort": 8080}], "selector": {"c": "d"}}}),
        Step(
            "strategic",
            "m3",
            {
                "spec": {
                    "$setElementOrder/ports": [{"port": 81}, {"port": 80}],
                    "ports": [{"port": 81, "name": "bb"}],
                }
            },
        ),
        Step("strategic", "m3", {"spec": {"ports": [{"$patch": "delete", "port": 80}]}}),
        Step("strategic", "m3", {"spec": {"ports": [{"$patch": "replace"}, {"port": 90}]}}),
        Step("strategic", "m3", {"spec": {"ports": [{"name": "x"}]}}),
        Step("strategic", "m4", {"metadata": {"labels": {"a": "b"}, "annotations": None}}),
        Step("strategic", "m4", {"metadata": {"labels": {"$patch": "replace", "z": "y"}}}),
        Step("strategic", "m4", {"spec": {"selector": {"$patch": "delete"}}}),
        Step("apply", "k1", _service([{"name": "http", "port": 90}], selector={"q": "r"})),
        Step(
            "force",
            "k1",
            _service(
                [{"name": "http", "port": 90}, {"name": "dns", "port": 53, "protocol": "UDP"}], selector={"q": "r"}
            ),
        ),
        Step("strategic", "m5", {"metadata": {"finalizers": ["a.b/c", "d.e/f"]}}),
        Step("strategic", "m5", {"metadata": {"finalizers": ["g.h/i"]}}),
        Step("strategic", "m5", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/c"]}}),
        Step("strategic", "m5", {"metadata": {"$setElementOrder/finalizers": ["g.h/i", "d.e/f"]}}),
        Step("strategic", "m5", {"metadata": {"finalizers": None}}),
    ],
    "a deployment": [
        Step(
            "create",
            "m1",
            _deployment(
                {"name": "a", "image": "x:1", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}
            ),
        ),
        Step("strategic", "m2", {"spec": {"replicas": 3}}),
        Step(
            "strategic",
            "m2",
            _template({"containers": [{"name": "a", "image": "x:2", "env": [{"name": "B", "value": "2"}]}]}),
        ),
        Step(
            "strategic",
            "m3",
            _template({"containers": [{"name": "side", "image": "y:1"}], "volumes": [{"name": "v", "emptyDir": {}}]}),
        ),
        Step(
            "strategic",
            "m3",
            _template(
                {
                    "$setElementOrder/containers": [{"name": "side"}, {"name": "a"}],
                    "containers": [{"name": "a", "command": ["c"]}],
                    "volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "q"}}],
                }
            ),
        ),
        Step("strategic", "m3", _template({"containers": [{"name": "side", "$patch": "delete"}], "volumes": None})),
        Step("strategic", "m4", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        Step(
            "strategic",
            "m4",
            _template(
                {
                    "containers": [
                        {
                            "name": "a",
                            "env": [{"name": "A", "$patch": "delete"}],
                            "resources": {"limits": {"cpu": "1"}},
                        }
                    ]
                }
            ),
        ),
        Step("apply", "k1", _deployment({"name": "a", "image": "x:3"})),
        Step(
            "force",
            "k1",
            _deployment({"name": "a", "image": "x:3"}, tolerations=[{"key": "a", "operator": "Exists"}]),
        ),
        Step("force", "k1", _deployment({"name": "a", "image": "x:3", "env": [{"name": "Z", "value": "1"}]})),
        Step(
            "json",
            "j1",
            [
                {"op": "replace", "path": "/spec/replicas", "value": 5},
                {"op": "add", "path": "/metadata/labels/z", "value": "y"},
            ],
        ),
        Step("json", "j1", [{"op": "test", "path": "/spec/replicas", "value": 4}]),
        Step("json", "j1", [{"op": "remove", "path": "/spec/nope"}]),
        Step("json", "j1", [{"op": "replace", "path": "/spec/nope/deep", "value": 1}]),
        Step("json", "j1", {"a": 1}),
        Step("strategic", "m9", _template({"containers": [{"image": "q"}]})),
        Step("strategic", "m9", _template({"containers": [{"name": "a", "$patch": "foo"}]})),
        Step("strategic", "m9", {"spec": {"$setElementOrder/x": "y"}}),
        Step("strategic", "m9", {"spec": {"strategy": {"$retainKeys": "type"}}}),
        Step("strategic", "m9", {"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
        Step(
            "strategic",
            "m9",
            _template({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a", "image": "r"}]}),
        ),
    ],
}
"""Lives of objects: writes one after the other."""

MISFITS: list[JsonObject] = [
    {"a": "x"},
    {"a": {}},
    {"a": [1]},
    {"a": True},
    {"b": 1},
    {"b": {"x": 1}},
    {"b": [1]},
    {"b": True},
    {"b": 1.5},
    {"al": "x"},
    {"al": {"a": 1}},
    {"al": [1]},
    {"set": [{"a": 1}]},
    {"set": [None]},
    {"set": ["a", "a"]},
    {"ml": ["x"]},
    {"ml": [None]},
    {"ml": "x"},
    {"ml": [{"zz": 1, "port": 1}]},
    {"ml": [{"port": 1}, {"port": 1}]},
    {"gm": {"a": 1}},
    {"gm": [1]},
    {"n": [1]},
    {"n": {"x": {"y": "q"}}},
    {"am": {"a": 1}},
    {"gmm": {"a": {"x": "y"}}},
    {"zz": 1},
]
"""Values for `spec` of an applied object that do not fit the schema `ownership`."""


def builtin_objects() -> list[JsonObject]:
    return list(yaml.safe_load_all((_HERE / "builtins.yaml").read_text()))


_POD: JsonObject = {"containers": [{"name": "a", "image": "b"}]}


def _pod(**spec: Any) -> JsonObject:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}, "spec": _POD | spec}


def _workload(kind: str, labels: JsonObject, selector: JsonObject | None) -> JsonObject:
    template = {"metadata": {"labels": labels}, "spec": _POD}
    spec = {"template": template} | ({} if selector is None else {"selector": selector})
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}


BAD_BUILTINS: list[JsonObject] = [
    _service([]),
    _service([], type="ExternalName"),
    _service([{"port": 0}]),
    _service([{"port": 99999}]),
    _service([{"name": "a"}]),
    _service([{"port": 80}, {"port": 81}]),
    _service([{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]),
    _service([{"port": 80, "name": "a"}, {"port": 81, "name": "A_b"}]),
    _service([{"port": 80, "protocol": "TPC"}]),
    _service([{"port": 80}], type="Foo"),
    _service([{"port": 80}], sessionAffinity="Foo"),
    _workload("Deployment", {"a": "b"}, {"matchLabels": {"a": "c"}}),
    _workload("Deployment", {"a": "b"}, {}),
    _workload("DaemonSet", {"a": "b"}, {"matchLabels": {"x": "y"}}),
    _pod(containers=[]),
    _pod(containers=[{"image": "b"}]),
    _pod(containers=[{"name": "a"}]),
    _pod(containers=[{"name": "A_b", "image": "b"}]),
    _pod(containers=[{"name": "a", "image": "b"}, {"name": "a", "image": "c"}]),
    _pod(containers=[{"name": "a", "image": "b", "ports": [{"containerPort": 0}]}]),
    _pod(containers=[{"name": "a", "image": "b", "ports": [{"containerPort": 70000}]}]),
    _pod(containers=[{"name": "a", "image": "b", "imagePullPolicy": "Sometimes"}]),
    _pod(containers=[{"name": "a", "image": "b", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]),
    _pod(containers=[{"name": "a", "image": "b", "env": [{"value": "x"}]}]),
    _pod(restartPolicy="Maybe"),
    _pod(tolerations=[{"key": "a", "operator": "Foo"}]),
]
"""Objects of built-in kinds that are refused."""
