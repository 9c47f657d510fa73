from __future__ import annotations

import copy
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from meshfed.api.crds import DIGEST_ANNOTATION, all_crds, crds_yaml, differences
from meshfed.api.schema import structural
from meshfed.api.v1alpha1 import GROUP, ExportAlias, MeshFederationStatus, RemoteMeshStatus, Staleness
from meshfed.model.reasons import CONDITIONS, REASONS, SEEN, ConditionType, Reason

ROOT = Path(__file__).parents[2]


def test_the_generated_files_are_what_the_types_say() -> None:
    generated: dict[Path, str] = runpy.run_path(str(ROOT / "tools/generate_api.py"))["generated"]()
    found = {path: (ROOT / path).read_text(encoding="utf-8") for path in generated}
    assert found == generated, "run python tools/generate_api.py"
    present = {path for path in (ROOT / "deploy/crds").iterdir() if path.name != "kustomization.yaml"}
    assert present == {ROOT / path for path in generated if path.suffix == ".yaml"}


def test_the_yaml_is_the_objects_and_nothing_is_said_by_reference() -> None:
    assert list(yaml.safe_load_all(crds_yaml())) == all_crds()
    assert "&id" not in crds_yaml()


def test_every_condition_and_reason_has_its_sentence() -> None:
    assert set(CONDITIONS) == set(SEEN) == set(ConditionType)
    assert set(REASONS) == set(Reason)


def test_whoever_changes_what_they_got_changes_nobody_elses() -> None:
    before = crds_yaml()
    for crd in all_crds():
        del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert crds_yaml() == before


def test_names() -> None:
    assert [(crd["metadata"]["name"], crd["spec"]["names"]) for crd in all_crds()] == [
        (
            f"meshfederations.{GROUP}",
            {
                "kind": "MeshFederation",
                "listKind": "MeshFederationList",
                "plural": "meshfederations",
                "singular": "meshfederation",
                "shortNames": ["meshfed", "mfed"],
                "categories": ["federation"],
            },
        ),
        (
            f"remotemeshes.{GROUP}",
            {
                "kind": "RemoteMesh",
                "listKind": "RemoteMeshList",
                "plural": "remotemeshes",
                "singular": "remotemesh",
                "shortNames": ["rmesh"],
                "categories": ["federation"],
            },
        ),
        (
            f"federatedservices.{GROUP}",
            {
                "kind": "FederatedService",
                "listKind": "FederatedServiceList",
                "plural": "federatedservices",
                "singular": "federatedservice",
                "shortNames": ["fsvc"],
                "categories": ["federation"],
            },
        ),
    ]


def test_a_type_with_defaults() -> None:
    assert structural(Staleness, defaults=True) == {
        "type": "object",
        "description": "What becomes of imports whose remote has been unreachable for a time.",
        "properties": {
            "after": {
                "type": "string",
                "title": "duration, such as 10m, 1h30m or 500ms",
                "description": "How long the remote is unreachable before its imports are stale.",
                "pattern": "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$",
                "minLength": 2,
                "maxLength": 32,
                "default": "10m",
            },
            "action": {
                "type": "string",
                "description": "What becomes of stale imports.",
                "enum": ["Keep", "Remove"],
                "default": "Keep",
            },
        },
    }


def test_a_type_with_a_rule() -> None:
    schema = structural(ExportAlias, defaults=True)
    assert schema["x-kubernetes-validations"] == [
        {
            "rule": "has(self.name) || has(self.__namespace__)",
            "message": "an export alias must give a name, a namespace or both: name what changes, or remove as",
        }
    ]


class Choice(msgspec.Struct):
    """A choice."""

    either: bool | str


def test_what_a_structural_schema_cannot_express_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot express a choice"):
        structural(Choice, defaults=False)


def _nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _nodes(inner, f"{path}.{name}")
    for inside in ("items", "additionalProperties"):
        if inside in schema:
            yield from _nodes(schema[inside], f"{path}[]")


@pytest.mark.parametrize("crd", all_crds(), ids=lambda crd: crd["spec"]["names"]["kind"])
def test_every_field_says_what_it_is(crd: dict[str, Any]) -> None:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    silent = {
        f"{path}.{name}"
        for path, node in _nodes(schema, "")
        for name, field in node.get("properties", {}).items()
        if not field.get("description") and not f"{path}.{name}".startswith(".metadata")
    }
    assert silent == set()


def test_defaults_stand_where_people_write_and_nowhere_else() -> None:
    found = {
        crd["spec"]["names"]["kind"]: {
            path.removeprefix(".spec."): node["default"]
            for path, node in _nodes(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "")
            if "default" in node
        }
        for crd in all_crds()
    }
    assert found == {
        "MeshFederation": {
            "clusterDomain": "cluster.local",
            "controlPlaneNamespace": "istio-system",
            "export.serviceExports": False,
            "ingress.gateway.portConfig": {},
            "ingress.gateway.portConfig.name": "tls-passthrough",
            "ingress.gateway.portConfig.number": 15443,
            "ingress.type": "istio",
            "trustDomain": "cluster.local",
        },
        "RemoteMesh": {
            "clusterDomain": "cluster.local",
            "discovery": {},
            "discovery.namespace": "istio-system",
            "discovery.port": 15080,
            "import.allowTCP": False,
            "import.confirm": True,
            "import.exportTo": ["*"],
            "import.limit": 1000,
            "import.merge": False,
            "ingressType": "istio",
            "port": 15443,
            "priority": 0,
            "staleness": {},
            "staleness.action": "Keep",
            "staleness.after": "10m",
            "trustDomain": "cluster.local",
            "withdrawal": {},
            "withdrawal.hold": "5m",
            "withdrawal.maxPercent": 50,
            "withdrawal.minServices": 20,
        },
        "FederatedService": {},
    }


def test_a_count_of_zero_is_written_so_that_its_column_shows_it() -> None:
    written = [msgspec.to_builtins(status) for status in (MeshFederationStatus(), RemoteMeshStatus())]
    assert written == [
        {"exportedServices": 0, "importedServices": 0, "remoteMeshes": 0},
        {"offeredServices": 0, "importedServices": 0, "deniedServices": 0, "refusedServices": 0},
    ]


def _served(**version: Any) -> dict[str, Any]:
    crd = copy.deepcopy(all_crds()[1])
    crd["spec"]["versions"][0] |= version
    return crd


def test_our_own_definitions_are_ours_and_a_newer_version_with_more_fields_is_too() -> None:
    newer = _served()
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["added"] = {"type": "string"}
    newer["metadata"]["annotations"][DIGEST_ANNOTATION] = "another"
    assert [differences(crd) for crd in (*all_crds(), newer)] == [(), (), (), ()]
    assert differences(newer) == ()


def _reference() -> dict[str, Any]:
    """A definition of the same name and version whose objects have nothing but a text called foo."""
    schema = {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {"foo": {"type": "string"}}},
            "status": {"type": "object"},
        },
    }
    return _served(schema={"openAPIV3Schema": schema})


def _without(field: str) -> dict[str, Any]:
    crd = _served()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["import"]["properties"]["rules"]["items"]["properties"][field]
    return crd


def _retyped() -> dict[str, Any]:
    crd = _served()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["import"]["properties"]["merge"] = {"type": "string"}
    return crd


def _cluster_scoped() -> dict[str, Any]:
    crd = _served()
    crd["spec"]["scope"] = "Cluster"
    return crd


@pytest.mark.parametrize(
    ("crd", "expected"),
    [
        (_served(served=False), ("v1alpha1 is not served",)),
        (_served(subresources={}), ("it has no status subresource",)),
        (_cluster_scoped(), ("it is Cluster, not Namespaced",)),
        (_retyped(), ("spec.import.merge is of type string, not boolean",)),
        (_without("merge"), ("it has no spec.import.rules[].merge",)),
        (
            _served(schema={"openAPIV3Schema": {"type": "object"}}),
            ("it has no spec", "it has no status"),
        ),
    ],
    ids=["not served", "no status", "scope", "another type", "an older one", "empty"],
)
def test_definitions_that_would_lose_our_objects_say_why(crd: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert differences(crd) == expected


def test_the_references_definition_of_the_same_name_is_not_ours() -> None:
    found = differences(_reference())
    assert differences(_reference()) != ()
    assert {"it has no spec.network", "it has no spec.import", "it has no status.conditions"} <= set(found)
    assert not any("metadata" in difference for difference in found)


def test_a_definition_whose_maps_take_anything_is_none_of_ours_and_no_crash() -> None:
    crd = all_crds()[0]
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["ingress"]["properties"]["gateway"]["properties"]["selector"]["additionalProperties"] = True
    assert differences(crd) == ("it has no spec.ingress.gateway.selector.*",)
