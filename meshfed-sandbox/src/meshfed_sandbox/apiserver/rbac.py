"""Who may do what: roles and their bindings, evaluated as Kubernetes' RBAC authorizer does.

Nothing is cached: a decision looks at the roles and bindings as they are, of which a sandbox has few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from meshfed_sandbox.apiserver import errors
from meshfed_sandbox.apiserver.causes import go_quote
from meshfed_sandbox.apiserver.errors import StatusError
from meshfed_sandbox.apiserver.identities import MASTERS, User, as_service_account
from meshfed_sandbox.apiserver.store import Key, Store

JSONObject = dict[str, Any]

GROUP: Final = "rbac.authorization.k8s.io"


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do: ``verb`` to a resource, or, where ``path`` is not empty, to a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def qualified(self) -> str:
        """The resource with its subresource, as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Decision(NamedTuple):
    """Whether it is allowed, and which binding says so, or which broken one might have."""

    allowed: bool
    reason: str = ""


class _Grant(NamedTuple):
    """A rule that holds for a user, and the binding it comes by, in words."""

    rule: Mapping[str, Any]
    source: str


class Authorizer:
    """Decides by the roles and bindings in ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, user: User, asked: Attributes) -> Decision:
        """Whether ``user`` may do what is ``asked``."""
        if MASTERS in user.groups:
            return Decision(True)
        broken: list[str] = []
        for grant in self._grants(user, asked.namespace, broken):
            if permits(grant.rule, asked):
                return Decision(True, f"RBAC: allowed by {grant.source}")
        return Decision(False, f"RBAC: {_aggregate(broken)}" if broken else "")

    def rules(self, user: User, namespace: str) -> JSONObject:
        """The status of a SelfSubjectRulesReview: all rules that hold for ``user`` in ``namespace``."""
        broken: list[str] = []
        found = [grant.rule for grant in self._grants(user, namespace, broken)]
        status: JSONObject = {
            "resourceRules": [
                _picked(rule, "verbs", "apiGroups", "resources", "resourceNames")
                for rule in found
                if rule.get("resources")
            ],
            "nonResourceRules": [
                _picked(rule, "verbs", "nonResourceURLs") for rule in found if rule.get("nonResourceURLs")
            ],
            "incomplete": bool(broken),
        }
        return status | ({"evaluationError": _aggregate(broken)} if broken else {})

    def _grants(self, user: User, namespace: str, broken: list[str]) -> Iterator[_Grant]:
        """Every rule that holds for ``user``; adds to ``broken`` which bindings lead nowhere."""
        everywhere = self._store.collection(GROUP, "clusterrolebindings").items()
        here = self._store.collection(GROUP, "rolebindings").items(namespace) if namespace else []
        for stored in (*everywhere, *here):
            subjects = stored.object.get("subjects") or ()
            subject = next((one for one in subjects if _is(one, user, stored.key.namespace)), None)
            if subject is None:
                continue
            role = stored.object["roleRef"]
            rules = self._rules_of(role, stored.key.namespace)
            if rules is None:
                broken.append(f"{role['kind'].lower()}.{GROUP} {go_quote(role['name'])} not found")
                continue
            kind = "RoleBinding" if stored.key.namespace else "ClusterRoleBinding"
            source = (
                f"{kind} {_at(stored.key.name, stored.key.namespace)} of {role['kind']} {go_quote(role['name'])} "
                f"to {subject['kind']} {_at(subject['name'], subject.get('namespace', ''))}"
            )
            yield from (_Grant(rule, source) for rule in rules)

    def _rules_of(self, role: Mapping[str, str], namespace: str) -> list[JSONObject] | None:
        if role["kind"] == "ClusterRole":
            stored = self._store.collection(GROUP, "clusterroles").get(Key("", role["name"]))
        else:
            stored = self._store.collection(GROUP, "roles").get(Key(namespace, role["name"]))
        return None if stored is None else stored.object.get("rules") or []


def permits(rule: Mapping[str, Any], asked: Attributes) -> bool:
    """Whether one rule allows what is asked."""
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and asked.verb not in verbs:
        return False
    if asked.path:
        return any(_covers(url, asked.path) for url in rule.get("nonResourceURLs") or ())
    groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
    if "*" not in groups and asked.group not in groups:
        return False
    accepted = {"*", asked.qualified} | ({f"*/{asked.subresource}"} if asked.subresource else set())
    if accepted.isdisjoint(resources):
        return False
    names = rule.get("resourceNames") or ()
    return not names or asked.name in names


def _covers(url: str, path: str) -> bool:
    return url in {"*", path} or (url.endswith("*") and path.startswith(url.rstrip("*")))


def _is(subject: Mapping[str, str], user: User, namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return subject["name"] == user.name
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            return as_service_account(user.name) == (subject.get("namespace") or namespace, subject["name"])
    return False


def _at(name: str, namespace: str) -> str:
    return go_quote(f"{name}/{namespace}" if namespace else name)


def _picked(rule: Mapping[str, Any], *fields: str) -> JSONObject:
    return {field: rule[field] for field in fields if rule.get(field)}


def _aggregate(messages: list[str]) -> str:
    several = list(dict.fromkeys(messages))
    return several[0] if len(several) == 1 else f"[{', '.join(several)}]"


def refusal(user: User, asked: Attributes, reason: str) -> StatusError:
    """403, in the words of a real server."""
    who = f"User {go_quote(user.name)} cannot {asked.verb}"
    if asked.path:
        said = f"{who} path {go_quote(asked.path)}"
    else:
        where = f"in the namespace {go_quote(asked.namespace)}" if asked.namespace else "at the cluster scope"
        said = f"{who} resource {go_quote(asked.qualified)} in API group {go_quote(asked.group)} {where}"
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        said = said.replace(character, entity)
    return errors.forbidden(asked.group, asked.resource, asked.name, f"{said}: {reason}" if reason else said)
