"""Reviews: questions put by creating an object that is answered and never stored."""

from __future__ import annotations

from typing import Any

from meshfed_sandbox.apiserver.access import Access
from meshfed_sandbox.apiserver.identities import User
from meshfed_sandbox.apiserver.rbac import Attributes
from meshfed_sandbox.apiserver.resources import Resource

JSONObject = dict[str, Any]


def answer(access: Access, user: User, resource: Resource, obj: Any) -> JSONObject | None:
    """The answered review, or ``None`` where ``resource`` is not one."""
    asked = obj if isinstance(obj, dict) else {}
    spec = asked.get("spec") or {}
    status: JSONObject
    match resource.kind:
        case "SelfSubjectReview":
            status = {"userInfo": user.info()}
        case "SelfSubjectAccessReview":
            status = _decided(access, user, spec)
        case "SubjectAccessReview":
            status = _decided(access, User(spec.get("user", ""), tuple(spec.get("groups") or ())), spec)
        case "SelfSubjectRulesReview":
            status = access.rules(user, spec.get("namespace", ""))
        case _:
            return None
    return {"metadata": {}, **asked, "kind": resource.kind, "apiVersion": resource.api_version, "status": status}


def _decided(access: Access, user: User, spec: JSONObject) -> JSONObject:
    path = spec.get("nonResourceAttributes")
    if path:
        asked = Attributes(verb=path.get("verb", ""), path=path.get("path", ""))
    else:
        about = spec.get("resourceAttributes") or {}
        fields = ("verb", "group", "resource", "subresource", "namespace", "name")
        asked = Attributes(**{field: about.get(field, "") for field in fields})
    decision = access.decide(user, asked)
    return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}
