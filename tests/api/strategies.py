"""Random objects for the API: valid by the schema, and valid ones with something changed."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from meshfed.api.crds import Kind
from meshfed.api.v1alpha1 import API_VERSION

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def manifests(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Manifests of ``kind`` whose spec its schema allows; its rules may refuse them."""
    spec = kind.schema["properties"]["spec"]
    return _values(spec).map(
        lambda drawn: {
            "apiVersion": API_VERSION,
            "kind": kind.name,
            "metadata": {"name": "drawn", "namespace": "default"},
            "spec": drawn,
        }
    )


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema:
        case {"enum": values}:
            return st.sampled_from(values)
        case {"type": "boolean"}:
            return st.booleans()
        case {"x-kubernetes-int-or-string": True, "pattern": pattern}:
            number = {key: value for key, value in schema.items() if key in {"minimum", "maximum"}}
            text = {key: value for key, value in schema.items() if key in {"minLength", "maxLength", "pattern"}}
            return _values({"type": "integer"} | number) | _values({"type": "string"} | text)
        case {"type": "integer"}:
            return st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1))
        case {"format": "date-time"}:
            return st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ"))
        case {"type": "string", "pattern": pattern}:
            low, high = schema.get("minLength", 0), schema.get("maxLength", 10**6)
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: low <= len(text) <= high)
        case {"type": "string"}:
            return st.text(min_size=schema.get("minLength", 0), max_size=20)
        case {"type": "array"}:
            unique = schema["x-kubernetes-list-type"] == "set"
            return st.lists(_values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3, unique=unique)
        case {"additionalProperties": values}:
            return st.dictionaries(
                st.text(max_size=10), _values(values), min_size=schema.get("minProperties", 0), max_size=3
            )
        case {"properties": properties}:
            required = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: _values(inner) for name, inner in properties.items() if name in required},
                optional={name: _values(inner) for name, inner in properties.items() if name not in required},
            )
    raise AssertionError(f"no values for {schema}")


@st.composite
def mutated(draw: st.DrawFn, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """One of ``objects`` with one to three places changed to anything."""
    obj: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(objects)))
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = obj
        while True:
            places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(holder[place], dict | list) and holder[place] and draw(st.booleans()):
                holder = holder[place]
                continue
            if draw(st.booleans()) or not isinstance(holder, dict):
                holder[place] = draw(ANY_JSON)
            else:
                holder[draw(st.text(max_size=5))] = holder.pop(place)
            break
    return obj
