"""The CustomResourceDefinitions, generated from the types, and whether those that a cluster serves hold our objects.

A cluster may have other CRDs under our names: the reference installs two, into whose schemas our objects would be
stored empty. So a controller asks ``differences`` before it trusts what it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import msgspec

from meshfed import __version__
from meshfed.api.documents import encode_document
from meshfed.api.schema import Schema, structural
from meshfed.api.v1alpha1 import GROUP, VERSION, FederatedService, MeshFederation, RemoteMesh

CATEGORY: Final = "federation"
DIGEST_ANNOTATION: Final = f"{GROUP}/schema-digest"
"""On each CRD: a digest of its spec, by which a person or a script tells two versions apart at a glance."""
VERSION_LABEL: Final = "app.kubernetes.io/version"
"""On each CRD: the version of Meshfed that it is of, by which it is known which of two is newer."""
APPLY_COMMAND: Final = "meshfed crds | kubectl apply --server-side --force-conflicts -f -"
"""What installs or replaces the CRDs."""


class Column(msgspec.Struct, frozen=True):
    """A column of ``kubectl get``; a ``wide`` one is shown with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


class Kind(msgspec.Struct, frozen=True):
    """A kind of the API.

    ``defaults`` says whether the API server fills in defaults: where people write the spec, not where the controller
    compares what it wrote with what it reads.
    """

    type: type[msgspec.Struct]
    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    defaults: bool = True

    @property
    def name(self) -> str:
        """The kind's name, as in manifests."""
        return self.type.__name__

    @property
    def schema(self) -> Schema:
        """The structural schema of the kind's objects."""
        schema = structural(self.type, defaults=self.defaults)
        schema["required"] = ["spec"]
        schema["properties"] |= {
            "apiVersion": {"type": "string", "description": "The group and version of the API."},
            "kind": {"type": "string", "description": "The kind of the object."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        }
        # The controller compares the status it wrote with the one it reads, so nothing may be filled in there.
        schema["properties"]["status"] = structural(self.type, defaults=False)["properties"]["status"]
        return schema


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


_AGE: Final = Column("Age", ".metadata.creationTimestamp", type="date")

KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        type=MeshFederation,
        plural="meshfederations",
        short_names=("meshfed", "mfed"),
        columns=(
            Column("Network", ".spec.network"),
            Column("Ready", _condition("Ready", "status")),
            Column("Exported", ".status.exportedServices", type="integer"),
            Column("Imported", ".status.importedServices", type="integer"),
            Column("Remotes", ".status.remoteMeshes", type="integer"),
            _AGE,
            Column("Trust Domain", ".spec.trustDomain", wide=True),
            Column("Ingress", ".spec.ingress.type", wide=True),
            Column("Reason", _condition("Ready", "reason"), wide=True),
            Column("Message", _condition("Ready", "message"), wide=True),
        ),
    ),
    Kind(
        type=RemoteMesh,
        plural="remotemeshes",
        short_names=("rmesh",),
        columns=(
            Column("Network", ".spec.network"),
            Column("Ready", _condition("Ready", "status")),
            Column("Connected", _condition("Connected", "status")),
            Column("Synced", _condition("Synced", "status")),
            Column("Reachable", _condition("Reachable", "status")),
            Column("Offered", ".status.offeredServices", type="integer"),
            Column("Imported", ".status.importedServices", type="integer"),
            Column("Denied", ".status.deniedServices", type="integer"),
            Column("Refused", ".status.refusedServices", type="integer"),
            _AGE,
            Column("Addresses", ".spec.addresses", wide=True),
            Column("Dialect", ".status.dialect", wide=True),
            Column("Subscribed", _condition("Subscribed", "status"), wide=True),
            Column("Reason", _condition("Ready", "reason"), wide=True),
            Column("Message", _condition("Ready", "message"), wide=True),
        ),
    ),
    Kind(
        type=FederatedService,
        plural="federatedservices",
        short_names=("fsvc",),
        columns=(
            Column("Remote", ".spec.remote"),
            Column("Host", ".spec.host"),
            Column("Accepted", _condition("Accepted", "status")),
            Column("Applied", _condition("Applied", "status")),
            Column("Reachable", _condition("Reachable", "status")),
            # Of an offer that is not accepted, Applied says the same reason.
            Column("Reason", _condition("Applied", "reason")),
            _AGE,
            Column("Imported As", ".status.importedAs", wide=True),
            Column("Message", _condition("Accepted", "message"), wide=True),
        ),
        defaults=False,
    ),
)


def all_crds() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions, in the order of ``KINDS``, as JSON values: the caller's own, to change at will."""
    crds: list[dict[str, Any]] = msgspec.json.decode(_encoded())
    return crds


@cache
def _encoded() -> bytes:
    """All of them, worked out once: that takes a tenth of a second, and a controller asks for each CRD it looks at."""
    return msgspec.json.encode([_crd(kind) for kind in KINDS])


def crds_yaml() -> str:
    """All of them as YAML documents; the same text every time."""
    return "".join(crd_yaml(crd) for crd in all_crds())


def crd_yaml(crd: dict[str, Any]) -> str:
    """One of them as a YAML document."""
    header = "# Generated from the types in src/meshfed/api/v1alpha1.py.\n"
    return f"---\n{header}{encode_document(crd, sort_keys=True)}"


def differences(crd: dict[str, Any]) -> tuple[str, ...]:
    """Why our objects cannot be kept in what ``crd``, as a cluster serves it, defines; empty where they can.

    A definition of a newer version, with more fields than we know, is fine. ``crd`` that is none of ours by name
    raises KeyError.
    """
    ours = {own["metadata"]["name"]: own for own in all_crds()}[crd["metadata"]["name"]]
    served = [version for version in crd["spec"]["versions"] if version["name"] == VERSION and version["served"]]
    if not served:
        return (f"{VERSION} is not served",)
    found: list[str] = []
    if crd["spec"]["scope"] != ours["spec"]["scope"]:
        found.append(f"it is {crd['spec']['scope']}, not {ours['spec']['scope']}")
    if "status" not in served[0].get("subresources", {}):
        found.append("it has no status subresource")
    expected = ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    given = served[0].get("schema", {}).get("openAPIV3Schema", {}).get("properties", {})
    for part in ("spec", "status"):
        found += _lacking(expected[part], given.get(part, {}), path=part)
    return tuple(found)


def losses(crd: dict[str, Any]) -> tuple[str, ...]:
    """What objects in ``crd``, as a cluster serves it, may have that ours of that name does not keep; empty: nothing.

    ``crd`` that is none of ours by name raises KeyError.
    """
    ours = {own["metadata"]["name"]: own for own in all_crds()}[crd["metadata"]["name"]]
    kept = ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    found = [f"{version['name']} is not served" for version in crd["spec"]["versions"] if version["name"] != VERSION]
    for version in crd["spec"]["versions"]:
        if version["name"] == VERSION:
            given = version.get("schema", {}).get("openAPIV3Schema", {}).get("properties", {})
            for part in kept.keys() & given.keys() & {"spec", "status"}:
                found += _lacking(given[part], kept[part], path=part)
    return tuple(found)


def _lacking(ours: Schema, theirs: Schema, *, path: str) -> Iterator[str]:
    if ours.get("type") != theirs.get("type"):
        yield f"{path} is of type {theirs['type']}, not {ours.get('type')}" if "type" in theirs else f"it has no {path}"
        return
    for name, schema in ours.get("properties", {}).items():
        yield from _lacking(schema, theirs.get("properties", {}).get(name, {}), path=f"{path}.{name}")
    for inside, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if inside in ours:
            given = theirs.get(inside)  # additionalProperties may also be true or false
            yield from _lacking(ours[inside], given if isinstance(given, dict) else {}, path=path + mark)


def _crd(kind: Kind) -> dict[str, Any]:
    spec = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "kind": kind.name,
            "listKind": f"{kind.name}List",
            "plural": kind.plural,
            "singular": kind.name.lower(),
            "shortNames": list(kind.short_names),
            "categories": [CATEGORY],
        },
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": kind.schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [_column(column) for column in kind.columns],
            }
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "meshfed", VERSION_LABEL: __version__},
            "annotations": {DIGEST_ANNOTATION: _digest(spec)},
        },
        "spec": spec,
    }


def _column(column: Column) -> dict[str, Any]:
    priority = {"priority": 1} if column.wide else {}
    return {"name": column.name, "type": column.type, "jsonPath": column.path} | priority


def _digest(spec: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]
