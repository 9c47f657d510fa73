"""Authentication and authorization of each request, and the record of what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import unquote

import msgspec

from meshfed_sandbox.apiserver import selectors
from meshfed_sandbox.apiserver.errors import StatusError
from meshfed_sandbox.apiserver.identities import (
    ADMIN,
    Authenticator,
    Tokens,
    User,
    as_service_account,
    impersonated,
)
from meshfed_sandbox.apiserver.rbac import Attributes, Authorizer, Decision, refusal
from meshfed_sandbox.apiserver.store import Store

JSONObject = dict[str, Any]

_METHODS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Headers(Protocol):
    """A request's headers, of which one may occur more than once."""

    def __contains__(self, name: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> str: ...
    def get(self, name: str, default: str, /) -> str:
        """The first value of a header."""
        ...

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """All values of a header."""
        ...


class Use(msgspec.Struct, frozen=True):
    """That ``user`` asked for something, and whether they were allowed to."""

    user: str
    asked: Attributes
    allowed: bool


def attributes(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """What a request asks for, by its URL alone: whether there is such a resource is not known yet.

    A list or watch of a single object by ``metadata.name`` names that object, as for a real server; the deletion of a
    collection never does.
    """
    verb = _METHODS.get(method, method.lower())
    parts = path.strip("/").split("/")
    prefix = {"api": 2, "apis": 3}.get(parts[0], 0)
    if not prefix or len(parts) <= prefix:
        return Attributes(verb=method.lower() if method != "HEAD" else "head", path=path)
    group, rest = (parts[1] if prefix == 3 else ""), [unquote(part) for part in parts[prefix:]]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in {"status", "finalize"}:
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    if not name and verb == "get":
        verb = "watch" if query.get("watch", "") in {"true", "1", "True", "t", "T", "TRUE"} else "list"
        name = selectors.exact_name(query.get("fieldSelector", ""))
    elif not name and verb == "delete":
        verb = "deletecollection"
    return Attributes(
        verb=verb, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
    )


class Access:
    """Lets requests in, or not. Without ``rbac`` everybody who has the ``token``, if there is one, may do everything.

    ``audit`` counts what was asked for, by whom; only with ``rbac``.
    """

    def __init__(self, store: Store, *, token: str, rbac: bool, now: Callable[[], datetime]) -> None:
        self.tokens = Tokens(store, now)
        self.audit: Counter[Use] = Counter()
        self._authorizer = Authorizer(store) if rbac else None
        self._authenticator = Authenticator(self.tokens, token)
        self._token = token

    def admit(self, method: str, path: str, query: Mapping[str, str], headers: Headers) -> User:
        """Who asks; ``StatusError`` 401 or 403 where they may not."""
        if self._authorizer is None:
            if self._token and headers.get("Authorization", "") != f"Bearer {self._token}":
                raise StatusError(401, "Unauthorized", "Unauthorized")
            return ADMIN
        user = self._authenticator.user(headers.get("Authorization", ""))
        if "Impersonate-User" in headers:
            user = self._impersonated(user, headers)
        self.require(user, attributes(method, path, query))
        return user

    def require(self, user: User, asked: Attributes) -> None:
        """``StatusError`` 403 where ``user`` may not do what is ``asked``."""
        decision = self.decide(user, asked)
        if self._authorizer is not None:
            self.audit[Use(user.name, asked, decision.allowed)] += 1
        if not decision.allowed:
            raise refusal(user, asked, decision.reason)

    def decide(self, user: User, asked: Attributes) -> Decision:
        """Whether ``user`` may do what is ``asked``."""
        if self._authorizer is None:
            return Decision(True, "the sandbox allows everything")
        return self._authorizer.decide(user, asked)

    def rules(self, user: User, namespace: str) -> JSONObject:
        """All rules that hold for ``user`` in ``namespace``, as a SelfSubjectRulesReview shows them."""
        if self._authorizer is None:
            return {
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False,
            }
        return self._authorizer.rules(user, namespace)

    def _impersonated(self, user: User, headers: Headers) -> User:
        name, groups = headers["Impersonate-User"], headers.getall("Impersonate-Group", [])
        account = as_service_account(name)
        if account is None:
            self.require(user, Attributes(verb="impersonate", resource="users", name=name))
        else:
            namespace, own = account
            asked = Attributes(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=own)
            self.require(user, asked)
        for group in groups:
            self.require(user, Attributes(verb="impersonate", resource="groups", name=group))
        return impersonated(name, groups)
