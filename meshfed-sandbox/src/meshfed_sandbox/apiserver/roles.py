"""Roles as objects: those that every cluster begins with, what is wrong with one, and those made of others."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from meshfed_sandbox.apiserver import selectors
from meshfed_sandbox.apiserver.behaviours import Behaviour
from meshfed_sandbox.apiserver.causes import Cause, invalid, required
from meshfed_sandbox.apiserver.rbac import GROUP
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Event, Store
from meshfed_sandbox.apiserver.writes import MERGE_PATCH, WriteOptions, Writer

JSONObject = dict[str, Any]

_AGGREGATOR: Final = WriteOptions(manager="clusterrole-aggregation-controller")
_REVIEWS: Final = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
_PUBLIC: Final = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY: Final = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_PUBLIC]
_EVERYTHING: Final = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
# Name, its rules, and the groups it is bound to.
_BOOTSTRAP: Final[tuple[tuple[str, list[JSONObject], tuple[str, ...]], ...]] = (
    ("cluster-admin", _EVERYTHING, ("system:masters",)),
    (
        "system:basic-user",
        [
            {"apiGroups": ["authorization.k8s.io"], "resources": _REVIEWS, "verbs": ["create"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
        ],
        ("system:authenticated",),
    ),
    ("system:discovery", [{"nonResourceURLs": _DISCOVERY, "verbs": ["get"]}], ("system:authenticated",)),
    (
        "system:public-info-viewer",
        [{"nonResourceURLs": _PUBLIC, "verbs": ["get"]}],
        ("system:authenticated", "system:unauthenticated"),
    ),
)


def bootstrap() -> list[tuple[str, JSONObject]]:
    """The roles and bindings of a new cluster, each with its plural; far from all of a real one's."""
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    found: list[tuple[str, JSONObject]] = []
    for name, rules, groups in _BOOTSTRAP:
        meta = {"name": name, "labels": labels}
        subjects = [{"kind": "Group", "apiGroup": GROUP, "name": group} for group in groups]
        found.append(("clusterroles", {"metadata": dict(meta), "rules": rules}))
        role = {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}
        found.append(("clusterrolebindings", {"metadata": dict(meta), "roleRef": role, "subjects": subjects}))
    return found


def _check_rules(new: JSONObject, *, namespaced: bool) -> list[Cause]:
    causes: list[Cause] = []
    for index, rule in enumerate(new.get("rules") or ()):
        field = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.append(required(f"{field}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if namespaced:
                why = "namespaced rules cannot apply to non-resource URLs"
                causes.append(invalid(f"{field}.nonResourceURLs", rule["nonResourceURLs"], why))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                why = "rules cannot apply to both regular resources and non-resource URLs"
                causes.append(invalid(f"{field}.nonResourceURLs", rule["nonResourceURLs"], why))
            continue
        if not rule.get("apiGroups"):
            causes.append(required(f"{field}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            causes.append(required(f"{field}.resources", "resource rules must supply at least one resource"))
    return causes


def _check_role(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    del old
    return _check_rules(new, namespaced=True)


def _check_cluster_role(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    del old
    return _check_rules(new, namespaced=False)


def _check_binding(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    if old is not None and new.get("roleRef") != old.get("roleRef"):
        return [invalid("roleRef", new.get("roleRef"), "cannot change roleRef")]
    return []


BEHAVIOURS: Final = {
    (GROUP, "Role"): Behaviour(check=_check_role),
    (GROUP, "ClusterRole"): Behaviour(check=_check_cluster_role),
    (GROUP, "RoleBinding"): Behaviour(check=_check_binding),
    (GROUP, "ClusterRoleBinding"): Behaviour(check=_check_binding),
}


class Aggregator:
    """Gives each ClusterRole with an ``aggregationRule`` the rules of those it selects, as a controller does."""

    def __init__(self, store: Store, writer: Writer, resource: Resource) -> None:
        self._roles = store.collection(GROUP, "clusterroles")
        self._writer = writer
        self._resource = resource
        self._due = False

    def follow(self, event: Event) -> None:
        """Look again, once whoever made this change has been answered."""
        del event
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._aggregate)

    def _aggregate(self) -> None:
        self._due = False
        roles = self._roles.items()
        for role in roles:
            chosen = (role.object.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
            tests = [selectors.label_selector(selectors.text_of(selector)) for selector in chosen]
            if not tests:
                continue
            rules: list[JSONObject] = []
            for other in roles:
                if other.key != role.key and any(test is None or test(other.object) for test in tests):
                    rules += [rule for rule in other.object.get("rules") or () if rule not in rules]
            if rules != (role.object.get("rules") or []):
                self._writer.patch(self._resource, role.key, MERGE_PATCH, {"rules": rules}, _AGGREGATOR)
