"""OpenAPI v3, by group and version, as far as kubectl reads it: kinds, their fields, and what a PATCH understands."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from meshfed.sandbox.apiserver.resources import Registry, Resource

JSONObject = dict[str, Any]

_encode: Final = msgspec.json.Encoder().encode


def _query(name: str, kind: str = "string") -> JSONObject:
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


_WRITE: Final = [_query("dryRun"), _query("fieldManager"), _query("fieldValidation")]


class Documents:
    """The documents of what ``registry`` serves, each made when first asked for and after every change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._resources: dict[str, list[Resource]] = {}
        self._made: dict[str, tuple[bytes, str]] = {}

    def answer(self, path: str, query: Mapping[str, str], accept: str) -> web.Response:
        """The index at ``/openapi/v3`` or a document below it."""
        del accept
        self._refresh()
        if path == "/openapi/v3":
            return web.Response(body=self._index(), content_type="application/json")
        name = path.removeprefix("/openapi/v3/")
        if not path.startswith("/openapi/v3/") or name not in self._resources:
            return web.Response(text="404 page not found\n", status=404)
        body, digest = self._document(name)
        headers = {"ETag": f'"{digest}"', "Vary": "Accept"}
        if query.get("hash"):
            headers["Cache-Control"] = "public, immutable"
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _refresh(self) -> None:
        if self._generation == self._registry.generation:
            return
        self._generation = self._registry.generation
        self._made.clear()
        self._resources = {resources[0].path: resources for resources in self._registry.group_versions().values()}

    def _index(self) -> bytes:
        paths = {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={self._document(name)[1]}"}
            for name in self._resources
        }
        return _encode({"paths": paths})

    def _document(self, name: str) -> tuple[bytes, str]:
        made = self._made.get(name)
        if made is None:
            body = _encode(_document(self._resources[name]))
            made = self._made[name] = body, hashlib.sha256(body).hexdigest().upper()
        return made


def _document(resources: list[Resource]) -> JSONObject:
    schemas: JSONObject = {}
    paths: JSONObject = {}
    for resource in resources:
        name = schema_name(resource)
        schemas[name] = {**resource.openapi, "x-kubernetes-group-version-kind": [_gvk(resource)]}
        paths |= _paths(resource, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "1.35"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


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
