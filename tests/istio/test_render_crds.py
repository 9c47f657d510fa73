"""What is rendered fits the schemas that Istio 1.30 and OpenShift publish.

Their schemas are made stricter here: a field that they do not know is an error, where an API server would drop it
without a word.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.istio import Manifest, route
from meshfed.model.names import ServiceHost
from tests.istio.rendering_values import ROUTER, east
from tests.istio.test_render_properties import everything, worlds
from tests.published import MISSING, published_crds

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@cache
def validators() -> dict[tuple[str, str], jsonschema_rs.Validator]:
    """The validator of each served version's ``spec``, by apiVersion and kind."""
    found = {}
    for crd in published_crds():
        for version in crd["spec"]["versions"]:
            if version["served"]:
                schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
                key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                found[key] = jsonschema_rs.validator_for(strict(schema))
    return found


def strict(schema: Any) -> Any:
    """``schema`` with unknown fields refused wherever it lists the known ones."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    stricter = {key: strict(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        stricter.setdefault("additionalProperties", False)
    return stricter


def complaints(manifest: Manifest) -> list[str]:
    validator = validators()[manifest["apiVersion"], manifest["kind"]]
    return [f"{manifest['kind']}: {error.message}" for error in validator.iter_errors(manifest["spec"])]


def test_every_example_of_the_documentation_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "resources.md").read_text(), flags=re.DOTALL)
    manifests = [yaml.safe_load(block) for block in blocks]

    assert [(manifest["metadata"]["name"], complaints(manifest)) for manifest in manifests] == [
        (manifest["metadata"]["name"], []) for manifest in manifests
    ]
    assert {manifest["kind"] for manifest in manifests} == {
        "AuthorizationPolicy",
        "DestinationRule",
        "EnvoyFilter",
        "Gateway",
        "PeerAuthentication",
        "Route",
        "ServiceEntry",
        "WorkloadEntry",
    }


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_whatever_is_rendered_is_valid(data: st.DataObject) -> None:
    for manifest in everything(*data.draw(worlds())):
        assert complaints(manifest) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hosts": "misspelt"}, """Additional properties are not allowed ('hosts' was unexpected)"""),
        ({"wildcardPolicy": "Some"}, """"Some" is not one of"""),
        ({"host": 7}, """7 is not of type "string\""""),
    ],
)
def test_a_mistake_would_be_found(change: dict[str, Any], complaint: str) -> None:
    rendered = route(east(ingress_type=ROUTER), ServiceHost("a", "b", "c"), 80)
    assert rendered is not None

    found = complaints({**rendered, "spec": {**rendered["spec"], **change}})

    assert len(found) == 1
    assert complaint in found[0]
