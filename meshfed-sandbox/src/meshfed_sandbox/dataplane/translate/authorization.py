"""AuthorizationPolicies as RBAC filters: DENY first, then ALLOW."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from meshfed_sandbox.dataplane.translate import schema
from meshfed_sandbox.dataplane.translate.envoy import extension
from meshfed_sandbox.dataplane.translate.mesh import Mesh
from meshfed_sandbox.dataplane.translate.reading import Object
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, Untranslatable

Policy = Object[schema.AuthorizationPolicySpec]
Action = Literal["ALLOW", "DENY"]

ANYBODY: Final = {"any": True}


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """The filters that decide who may call a workload."""

    http_filters: Sequence[JSONObject]
    network_filters: Sequence[JSONObject]


class _HTTPOnly(Exception):
    """A field that says nothing of a connection which is not HTTP."""


def authorization(mesh: Mesh, namespace: str, labels: Mapping[str, str]) -> Authorization:
    """The filters for a workload.

    Raises ``Untranslatable`` for a value that is not known.
    """
    policies = [
        each
        for each in mesh.authorization_policies
        if mesh.applies(each.meta.namespace, each.spec.selector.match_labels, namespace, labels)
    ]
    http, network = [], []
    for action in ("DENY", "ALLOW"):
        these = [each for each in policies if each.spec.action == action]
        if not these:
            continue
        http.append(
            extension(
                "envoy.filters.http.rbac",
                "envoy.extensions.filters.http.rbac.v3.RBAC",
                rules=_rules(mesh.settings, action, these, http=True),
            )
        )
        network.append(
            extension(
                "envoy.filters.network.rbac",
                "envoy.extensions.filters.network.rbac.v3.RBAC",
                stat_prefix=f"authorization_{action.lower()}",
                rules=_rules(mesh.settings, action, these, http=False),
            )
        )
    return Authorization(http_filters=http, network_filters=network)


def _rules(settings: MeshSettings, action: Action, policies: Iterable[Policy], *, http: bool) -> JSONObject:
    """The rules of all policies of one action.

    A connection that is not HTTP has no method, path or host. A rule of an ALLOW policy that names one of these
    allows no such connection; one of a DENY policy denies as if it did not name it (istiod's ``Model.Generate``).
    """
    found: dict[str, JSONObject] = {}
    for policy in policies:
        for index, rule in enumerate(policy.spec.rules):
            context = _Context(
                settings, f"{policy}: spec.rules[{index}]", skip=not http and action == "DENY", http=http
            )
            try:
                permissions = [_permission(context, each.operation) for each in rule.to] or [ANYBODY]
            except _HTTPOnly:
                continue
            principals = [_principal(context, each.source) for each in rule.from_] or [ANYBODY]
            found[f"ns[{policy.meta.namespace}]-policy[{policy.meta.name}]-rule[{index}]"] = {
                "permissions": permissions,
                "principals": principals,
            }
    return {"action": action, "policies": dict(sorted(found.items()))}


class _Context(msgspec.Struct, frozen=True):
    """Where a rule stands, and what its connection can be asked."""

    settings: MeshSettings
    where: str
    skip: bool
    http: bool

    def http_only(self) -> bool:
        """Whether to go on with a field of HTTP; raises ``_HTTPOnly`` where the rule is void because of it."""
        if self.http or self.skip:
            return self.http
        raise _HTTPOnly


def _principal(context: _Context, source: schema.Source) -> JSONObject:
    settings = context.settings
    identities: Callable[[Sequence[str]], list[JSONObject]] = lambda values: [  # noqa: E731 - two of a kind, in place
        {"authenticated": {"principal_name": _spiffe(each)}} for each in with_aliases(settings, values)
    ]
    parts = [
        *_any_of("or_ids", identities(source.principals)),
        *_none_of("not_id", "or_ids", identities(source.not_principals)),
        *_any_of("or_ids", [_namespace(each) for each in source.namespaces]),
        *_none_of("not_id", "or_ids", [_namespace(each) for each in source.not_namespaces]),
        *_any_of("or_ids", [_block(context, each) for each in source.ip_blocks]),
        *_none_of("not_id", "or_ids", [_block(context, each) for each in source.not_ip_blocks]),
    ]
    return {"and_ids": {"ids": parts}} if parts else ANYBODY


def _permission(context: _Context, operation: schema.Operation) -> JSONObject:
    parts: list[JSONObject] = []
    for values, negative, make in (
        (operation.hosts, operation.not_hosts, _host),
        (operation.methods, operation.not_methods, _method),
        (operation.paths, operation.not_paths, _path),
    ):
        if (values or negative) and context.http_only():
            parts += _any_of("or_rules", [make(context, each) for each in values])
            parts += _none_of("not_rule", "or_rules", [make(context, each) for each in negative])
    parts += _any_of("or_rules", [_port(context, each) for each in operation.ports])
    parts += _none_of("not_rule", "or_rules", [_port(context, each) for each in operation.not_ports])
    return {"and_rules": {"rules": parts}} if parts else ANYBODY


def _any_of(key: str, items: list[JSONObject]) -> list[JSONObject]:
    return [{key: {"ids" if key == "or_ids" else "rules": items}}] if items else []


def _none_of(negation: str, key: str, items: list[JSONObject]) -> list[JSONObject]:
    return [{negation: each} for each in _any_of(key, items)]


def with_aliases(settings: MeshSettings, principals: Iterable[str]) -> list[str]:
    """The principals, each also in the aliases of the trust domain (``Bundle.ReplaceTrustDomainAliases``).

    ``cluster.local`` stands for this mesh's trust domain, whatever that is called. A principal of another trust
    domain, or of any (``*``), is left as it is.
    """
    domains = (settings.trust_domain, *settings.trust_domain_aliases)
    found: list[str] = []
    for principal in principals:
        parts = principal.split("/")
        own = parts[0]
        if len(parts) != 5 or own == "*" or not (own == "cluster.local" or any(_like(own, each) for each in domains)):
            found.append(principal)
            continue
        found += [
            principal if own.startswith("*") and _like(own, domain) else "/".join([domain, *parts[1:]])
            for domain in domains
        ]
    return list(dict.fromkeys(found))


def _like(pattern: str, value: str) -> bool:
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return pattern == value


def _spiffe(principal: str) -> JSONObject:
    return _string(principal, before="spiffe://")


def _string(value: str, *, before: str = "", ignore_case: bool = False) -> JSONObject:
    """A matcher for a value with at most one ``*``, at its start or its end."""
    case = {"ignore_case": True} if ignore_case else {}
    if value == "*":
        return {"safe_regex": {"regex": ".+"}}
    if value.startswith("*"):
        if not before:
            return {"suffix": value[1:], **case}
        return {"safe_regex": {"regex": f"{re.escape(before)}.*{re.escape(value[1:])}"}}
    if value.endswith("*"):
        return {"prefix": before + value[:-1], **case}
    return {"exact": before + value, **case}


def _namespace(value: str) -> JSONObject:
    pattern = ".*".join(re.escape(part) for part in value.split("*"))
    return {"authenticated": {"principal_name": {"safe_regex": {"regex": f".*/ns/{pattern}/.*"}}}}


def _block(context: _Context, value: str) -> JSONObject:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Untranslatable(f"{context.where}.from: ipBlocks: {value} is neither an IP nor a range of IPs") from None
    return {"direct_remote_ip": {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}}


def _port(context: _Context, value: str) -> JSONObject:
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise Untranslatable(f"{context.where}.to: ports: {value} is no port number")
    return {"destination_port": int(value)}


def _host(_context: _Context, value: str) -> JSONObject:
    return _header(":authority", value, ignore_case=True)


def _method(_context: _Context, value: str) -> JSONObject:
    return _header(":method", value, ignore_case=False)


def _header(name: str, value: str, *, ignore_case: bool) -> JSONObject:
    if value == "*":
        return {"header": {"name": name, "present_match": True}}
    return {"header": {"name": name, "string_match": _string(value, ignore_case=ignore_case)}}


def _path(context: _Context, value: str) -> JSONObject:
    if "{" in value:
        raise Untranslatable(f"{context.where}.to: paths: {value}: templates are not translated")
    return {"url_path": {"path": _string(value)}}
