"""Reviews: questions put by creating an object that is answered and never stored. Everything is allowed here."""

from __future__ import annotations

from typing import Any, Final

from meshfed.sandbox.apiserver.resources import Resource

JSONObject = dict[str, Any]

_USER: Final = {"username": "sandbox", "groups": ["system:masters", "system:authenticated"]}
_EVERYTHING: Final = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}
_ANSWERS: Final[dict[str, JSONObject]] = {
    "SelfSubjectReview": {"userInfo": _USER},
    "SelfSubjectAccessReview": {"allowed": True, "reason": "the sandbox allows everything"},
    "SubjectAccessReview": {"allowed": True, "reason": "the sandbox allows everything"},
    "SelfSubjectRulesReview": _EVERYTHING,
}


def answer(resource: Resource, obj: Any) -> JSONObject | None:
    """The answered review, or ``None`` where ``resource`` is not one."""
    status = _ANSWERS.get(resource.kind)
    if status is None:
        return None
    asked = obj if isinstance(obj, dict) else {}
    return {"metadata": {}, **asked, "kind": resource.kind, "apiVersion": resource.api_version, "status": status}
