"""OpenAPI v3, by group and version, as far as kubectl reads it: kinds, their fields, and what a PATCH understands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from meshfed_sandbox.apiserver.resources import Registry, Resource
from meshfed_sandbox.apiserver.schema_node import METADATA

JSONObject = dict[str, Any]

_encode: Final = msgspec.json.Encoder().encode


def _query(name: str, kind: str = "string") -> JSONObject:
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_TYPE_META: Final = {
    "apiVersion": {"type": "string", "description": "The group and version of this object's schema."},
    "kind": {"type": "string", "description": "The name of this object's schema."},
}
_WRITE: Final = [_query("dryRun"), _query("fieldManager"), _query("fieldValidation")]


class _Document(NamedTuple):
    resources: tuple[Resource, ...]
    body: bytes
    digest: str


class Documents:
    """The documents of what ``registry`` serves, each made when first asked for and again when its resources change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[str, _Document] = {}

    def answer(self, path: str, query: Mapping[str, str]) -> web.Response:
        """The index at ``/openapi/v3`` or a document below it."""
        resources = {group[0].path: tuple(group) for group in self._registry.group_versions().values()}
        if path == "/openapi/v3":
            documents = {name: self._document(name, content) for name, content in resources.items()}
            paths = {
                name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={document.digest}"}
                for name, document in documents.items()
            }
            return web.Response(body=_encode({"paths": paths}), content_type="application/json")
        name = path.removeprefix("/openapi/v3/")
        if name not in resources:
            return web.Response(text="404 page not found\n", status=404)
        document = self._document(name, resources[name])
        headers = {"ETag": f'"{document.digest}"', "Vary": "Accept"}
        if query.get("hash") == document.digest:
            headers["Cache-Control"] = "public, immutable"
        return web.Response(body=document.body, content_type="application/json", headers=headers)

    def _document(self, name: str, resources: tuple[Resource, ...]) -> _Document:
        made = self._made.get(name)
        if made is None or any(old is not new for old, new in zip_longest(made.resources, resources)):
            body = _encode(_content(resources))
            made = self._made[name] = _Document(resources, body, hashlib.sha256(body).hexdigest().upper())
        return made


def _content(resources: Iterable[Resource]) -> JSONObject:
    schemas: JSONObject = {_OBJECT_META: METADATA}
    paths: JSONObject = {}
    for resource in resources:
        name = schema_name(resource)
        schemas[name] = _schema(resource)
        paths |= _paths(resource, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "1.35"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schema(resource: Resource) -> JSONObject:
    properties = {
        **_TYPE_META,
        **resource.openapi.get("properties", {}),
        "metadata": {"allOf": [{"$ref": f"#/components/schemas/{_OBJECT_META}"}], "description": "Standard metadata."},
    }
    return {**resource.openapi, "properties": properties, "x-kubernetes-group-version-kind": [_gvk(resource)]}


def schema_name(resource: Resource) -> str:
    """The name of a kind's schema: reversed group, version, kind."""
    group = (
        ".".join(reversed(resource.group.split("."))) if resource.custom else f"io.k8s.api.{resource.group or 'core'}"
    )
    return f"{group}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource) -> JSONObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(resource: Resource, name: str) -> JSONObject:
    base = f"/{resource.path}" + ("/namespaces/{namespace}" if resource.namespaced else "") + f"/{resource.plural}"
    body = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    def operation(action: str, *parameters: JSONObject) -> JSONObject:
        return {
            "parameters": list(parameters),
            "responses": {"200": {"description": "OK", **body}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(resource),
        }

    collection: JSONObject = {"get": operation("list")} if "list" in resource.verbs else {}
    collection["post"] = {**operation("post", *_WRITE), "requestBody": body}
    single: JSONObject = {}
    if "get" in resource.verbs:
        single = {
            "get": operation("get"),
            "put": {**operation("put", *_WRITE), "requestBody": body},
            "delete": operation("delete", _query("dryRun")),
            "patch": operation("patch", *_WRITE, _query("force", "boolean")),
        }
    found: JSONObject = {base: collection, f"{base}/{{name}}": single}
    if resource.has_status:
        found[f"{base}/{{name}}/status"] = {key: value for key, value in single.items() if key != "delete"}
    return found
