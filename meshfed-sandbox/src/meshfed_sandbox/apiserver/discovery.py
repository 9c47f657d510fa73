"""Discovery: which groups, versions and resources there are, in the aggregated form and the older one by group."""

from __future__ import annotations

from typing import Any, Final

from meshfed_sandbox.apiserver.resources import Registry, Resource

JSONObject = dict[str, Any]

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION: Final = {
    "major": "1",
    "minor": "35",
    "gitVersion": "v1.35.0+meshfed-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_TOKEN_REQUEST: Final = {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}
_SCALE: Final = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_STATUS_VERBS: Final = ("get", "patch", "update")
_SUBRESOURCE_KINDS: Final[dict[str, JSONObject]] = {
    "token": _TOKEN_REQUEST,
    "scale": _SCALE,
    "exec": {"group": "", "version": "v1", "kind": "PodExecOptions"},
    "proxy": {"group": "", "version": "v1", "kind": "PodProxyOptions"},
}
"""The kinds of subresources that are not their resource's own."""
_SUBRESOURCE_VERBS: Final = {"token": ("create",), "exec": ("get",), "log": ("get",), "proxy": ("get",)}
"""What can be done with subresources that are no part of their object."""


def _versions_by_group(registry: Registry) -> dict[str, dict[str, list[Resource]]]:
    found: dict[str, dict[str, list[Resource]]] = {}
    for (group, version), resources in registry.group_versions().items():
        found.setdefault(group, {})[version] = resources
    return found


def aggregated(registry: Registry, *, core: bool) -> JSONObject:
    """Everything under ``/api`` (``core``) or under ``/apis``, as an APIGroupDiscoveryList."""
    groups = _versions_by_group(registry)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {
                        "version": version,
                        "resources": [_aggregated(resource) for resource in resources],
                        "freshness": "Current",
                    }
                    for version, resources in versions.items()
                ],
            }
            for group, versions in groups.items()
            if (group == "") is core
        ],
    }


def _aggregated(resource: Resource) -> JSONObject:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    shown: JSONObject = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        shown["shortNames"] = list(resource.short_names)
    if resource.categories:
        shown["categories"] = list(resource.categories)
    if resource.subresources:
        shown["subresources"] = [_aggregated_subresource(name, kind) for name in resource.subresources]
    return shown


def _aggregated_subresource(name: str, kind: JSONObject) -> JSONObject:
    verbs = list(_SUBRESOURCE_VERBS.get(name, _STATUS_VERBS))
    return {"subresource": name, "responseKind": _SUBRESOURCE_KINDS.get(name, kind), "verbs": verbs}


def core_versions(address: str) -> JSONObject:
    """``/api``."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(registry: Registry) -> JSONObject:
    """``/apis``."""
    groups = [_group(name, list(versions)) for name, versions in _versions_by_group(registry).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> JSONObject | None:
    """``/apis/<name>``; ``None`` where there is no such group."""
    versions = _versions_by_group(registry).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, list(versions))} if versions else None


def _group(name: str, versions: list[str]) -> JSONObject:
    shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> JSONObject | None:
    """``/apis/<group>/<version>``, or ``/api/v1``; ``None`` where it is not served."""
    resources = registry.group_versions().get((group_name, version))
    if not resources:
        return None
    shown: list[JSONObject] = []
    for resource in resources:
        entry: JSONObject = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        shown.append(entry)
        for subresource in resource.subresources:
            other = _SUBRESOURCE_KINDS.get(subresource, {})
            part: JSONObject = {
                "name": f"{resource.plural}/{subresource}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "verbs": list(_SUBRESOURCE_VERBS.get(subresource, _STATUS_VERBS)),
            }
            shown.append(part | {"kind": resource.kind} | other)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": resources[0].api_version,
        "resources": shown,
    }
