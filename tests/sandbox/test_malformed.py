"""Whatever is in a body, the server says what is wrong with it rather than fall over it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds

JSON = {"Content-Type": "application/json"}
MISFITS: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "é\u0085",
    [],
    {},
    [1],
    ["a"],
    {"a": 1},
    [{}],
    [None],
    {"a": None},
    10**30,
]
META = {
    "name": "a",
    "labels": {"a": "b"},
    "annotations": {"x": "y"},
    "finalizers": ["example.com/b"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "y", "uid": "u"}],
}
SERVICE = {
    "metadata": META,
    "spec": {
        "type": "ClusterIP",
        "clusterIP": "10.96.7.7",
        "clusterIPs": ["10.96.7.7"],
        "selector": {"a": "b"},
        "ports": [{"name": "a", "port": 80, "targetPort": "x"}],
    },
}
CONTAINER = {"name": "a", "image": "b", "resources": {"limits": {"cpu": 1}}, "ports": [{"containerPort": 1}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
DEPLOYMENT = {"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}}
SECRET = {"metadata": {"name": "a"}, "data": {"a": "Yg=="}, "stringData": {"a": "b"}, "type": "Opaque"}
EVENT = {
    "metadata": {"name": "a"},
    "regarding": {"kind": "Pod", "name": "x"},
    "note": "x",
    "eventTime": "2026-01-01T00:00:00.000000Z",
}
ENTRY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "a"},
    "spec": {
        "hosts": ["a.b"],
        "ports": [{"number": 1, "name": "a"}],
        "endpoints": [{"address": "192.0.2.1", "ports": {"a": 1}}],
    },
}
PARTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
}
SPEC = {
    "type": "object",
    "properties": {"size": {"type": "integer", "maximum": 9}, "parts": PARTS},
    "x-kubernetes-validations": [{"rule": "self.size < 8", "message": "too big"}],
}
VERSION = {
    "name": "v1",
    "served": True,
    "storage": True,
    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}},
    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
}
CRD = {
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [VERSION],
    },
}


def variants(obj: Any) -> Iterator[Any]:
    """``obj`` with each of its parts in turn replaced by each misfit."""
    yield from MISFITS
    for key, value in obj.items() if isinstance(obj, dict) else enumerate(obj) if isinstance(obj, list) else ():
        for variant in variants(value):
            changed = copy.copy(obj)
            changed[key] = variant
            yield changed


@pytest.mark.parametrize(
    ("path", "obj"),
    [
        ("/api/v1/namespaces/default/services", SERVICE),
        ("/api/v1/namespaces/default/secrets", SECRET),
        ("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT),
        ("/apis/events.k8s.io/v1/namespaces/default/events", EVENT),
        ("/apis/networking.istio.io/v1/namespaces/default/serviceentries", ENTRY),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD),
    ],
)
async def test_creations(path: str, obj: dict[str, Any]) -> None:
    async with APIServer(crds=istio_crds()) as server, aiohttp.ClientSession() as session:
        async with session.post(f"{server.url}{path}?dryRun=All", json=obj) as answer:
            assert answer.status == 201, await answer.text()
        for variant in variants(obj):
            async with session.post(f"{server.url}{path}?dryRun=All", data=json.dumps(variant), headers=JSON) as answer:
                assert answer.status in {201, 400, 422}, f"{variant}: {await answer.text()}"


async def test_deletions() -> None:
    options = {"propagationPolicy": "Background", "preconditions": {"uid": "u", "resourceVersion": "1"}, "dryRun": []}
    async with APIServer() as server, aiohttp.ClientSession() as session:
        path = f"{server.url}/api/v1/namespaces/default/configmaps/a?dryRun=All"
        for variant in variants(options):
            async with session.delete(path, data=json.dumps(variant), headers=JSON) as answer:
                assert answer.status in {400, 404, 422}, f"{variant}: {await answer.text()}"
