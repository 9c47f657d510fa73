"""CustomResourceDefinitions: what makes one valid, the conditions it gets, and the resources it adds.

Conversion is ``None`` only: all versions of a kind share one stored form and differ in ``apiVersion`` alone.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from meshfed_sandbox.apiserver.causes import Cause, invalid, required
from meshfed_sandbox.apiserver.resources import Column, Resource
from meshfed_sandbox.apiserver.schema import Schema, SchemaError

JSONObject = dict[str, Any]

GROUP: Final = "apiextensions.k8s.io"
PLURAL: Final = "customresourcedefinitions"
CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that holds a CRD until all its objects are deleted."""
_NO_SCHEMA: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


class _Rule(msgspec.Struct, rename="camel"):
    rule: str
    message: str | UnsetType = UNSET
    message_expression: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    field_path: str | UnsetType = UNSET
    optional_old_self: bool | UnsetType = UNSET


class _SchemaProps(msgspec.Struct, rename="camel"):
    """The types of a schema's fields; nothing is ever made of it. A null is none of them."""

    type: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    nullable: bool | UnsetType = UNSET
    properties: dict[str, _SchemaProps] | UnsetType = UNSET
    additional_properties: _SchemaProps | bool | UnsetType = UNSET
    items: _SchemaProps | UnsetType = UNSET
    required: list[str] | UnsetType = UNSET
    enum: list[Any] | UnsetType = UNSET
    all_of: list[_SchemaProps] | UnsetType = UNSET
    any_of: list[_SchemaProps] | UnsetType = UNSET
    one_of: list[_SchemaProps] | UnsetType = UNSET
    not_: _SchemaProps | UnsetType = msgspec.field(name="not", default=UNSET)
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    exclusive_minimum: bool | UnsetType = UNSET
    exclusive_maximum: bool | UnsetType = UNSET
    multiple_of: float | UnsetType = UNSET
    min_length: int | UnsetType = UNSET
    max_length: int | UnsetType = UNSET
    min_items: int | UnsetType = UNSET
    max_items: int | UnsetType = UNSET
    min_properties: int | UnsetType = UNSET
    max_properties: int | UnsetType = UNSET
    unique_items: bool | UnsetType = UNSET
    rules: list[_Rule] | UnsetType = msgspec.field(name="x-kubernetes-validations", default=UNSET)
    preserve: bool | UnsetType = msgspec.field(name="x-kubernetes-preserve-unknown-fields", default=UNSET)
    int_or_string: bool | UnsetType = msgspec.field(name="x-kubernetes-int-or-string", default=UNSET)
    embedded: bool | UnsetType = msgspec.field(name="x-kubernetes-embedded-resource", default=UNSET)
    list_type: str | UnsetType = msgspec.field(name="x-kubernetes-list-type", default=UNSET)
    list_keys: list[str] | UnsetType = msgspec.field(name="x-kubernetes-list-map-keys", default=UNSET)
    map_type: str | UnsetType = msgspec.field(name="x-kubernetes-map-type", default=UNSET)


def prepare(new: JSONObject, old: JSONObject | None) -> None:
    """Establish a CRD, which takes no time here, and hold it until its objects are gone."""
    spec: JSONObject = new["spec"]
    names = spec["names"]
    if old is None:
        new["metadata"].setdefault("finalizers", []).append(CLEANUP)
        new["status"] = {"conditions": _conditions(new["metadata"]["creationTimestamp"])}
    stored = [version.get("name") for version in spec.get("versions") or () if version.get("storage")]
    before = (old or {}).get("status", {}).get("storedVersions", [])
    new["status"] = {**new["status"], "acceptedNames": names, "storedVersions": list(dict.fromkeys([*before, *stored]))}


def check(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    """What is wrong with a CRD."""
    spec: JSONObject = new["spec"]
    names: JSONObject = spec["names"]
    causes = [required(f"spec.{field}") for field in ("group", "scope") if not spec.get(field)]
    causes += [required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field)]
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if new["metadata"].get("name") != wanted:
        message = 'must be spec.names.plural+"."+spec.group'
        causes.append(invalid("metadata.name", new["metadata"].get("name"), message))
    if spec.get("scope") not in {None, "", "Namespaced", "Cluster"}:
        message = f'Unsupported value: "{spec["scope"]}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause("FieldValueNotSupported", message, "spec.scope"))
    causes += _version_causes(spec.get("versions") or [])
    strategy = spec["conversion"].get("strategy")
    if strategy != "None":
        causes.append(invalid("spec.conversion.strategy", strategy, "this server converts between no versions"))
    if old is not None:
        causes += [
            invalid(f"spec.{field}", spec.get(field), "field is immutable")
            for field in ("group", "scope")
            if spec.get(field) != old["spec"].get(field)
        ]
    return causes


def _version_causes(versions: list[JSONObject]) -> list[Cause]:
    causes: list[Cause] = []
    for index, version in enumerate(versions):
        openapi = (version.get("schema") or {}).get("openAPIV3Schema")
        if not openapi:
            causes.append(required(f"spec.versions[{index}].schema.openAPIV3Schema"))
            continue
        try:
            msgspec.convert(openapi, _SchemaProps)
            Schema.compile(openapi)
        except msgspec.ValidationError as error:
            causes.append(invalid(f"spec.versions[{index}].schema.openAPIV3Schema", "", str(error)))
        except SchemaError as error:
            where = f"spec.versions[{index}].schema."
            causes += [Cause(cause.reason, cause.message, where + cause.field) for cause in error.causes]
    stored = [version for version in versions if version.get("storage")]
    if len(stored) != 1:
        message = "must have exactly one version marked as storage version"
        causes.append(invalid("spec.versions", [v.get("name") for v in versions], message))
    return causes


def _conditions(now: str) -> list[JSONObject]:
    """The conditions of a CRD that is served, as it is from the moment it is created."""
    return [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]


def resources(crd: JSONObject) -> list[Resource]:
    """The resources that ``crd``, checked, adds: one for each served version, the preferred one first."""
    served = [version for version in crd["spec"]["versions"] if version.get("served")]
    return [_resource(crd["spec"], version) for version in sorted(served, key=_priority, reverse=True)]


def _resource(spec: JSONObject, version: JSONObject) -> Resource:
    names: JSONObject = spec["names"]
    openapi = (version.get("schema") or {}).get("openAPIV3Schema") or _NO_SCHEMA
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        storage=(spec["group"], names["plural"]),
        openapi=openapi,
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status="status" in (version.get("subresources") or {}),
        has_generation=True,
        unconditional_update=False,
        custom=True,
        list_kind=names.get("listKind") or f"{names['kind']}List",
        columns=tuple(
            Column(
                name=column["name"],
                type=column["type"],
                json_path=column["jsonPath"],
                format=column.get("format", ""),
                description=column.get("description", ""),
                priority=column.get("priority", 0),
            )
            for column in version.get("additionalPrinterColumns") or ()
        ),
        selectable_fields=tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()),
    )


def _priority(version: JSONObject) -> tuple[int, int, int]:
    """Where a version stands among others: GA before beta before alpha, then the higher number."""
    name = version["name"]
    for rank, word in enumerate(("alpha", "beta")):
        major, found, minor = name[1:].partition(word)
        if found and major.isdigit() and (not minor or minor.isdigit()):
            return rank, int(major), int(minor or 0)
    return (2, int(name[1:]), 0) if name[1:].isdigit() else (-1, 0, 0)
