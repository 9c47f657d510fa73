"""A request, taken apart: which resource, namespace, name and subresource its URL means, and which verb it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from meshfed_sandbox.apiserver import errors, podstreams, protobuf
from meshfed_sandbox.apiserver.identities import User
from meshfed_sandbox.apiserver.resources import Registry, Resource
from meshfed_sandbox.apiserver.writes import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

JSONObject = dict[str, Any]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
TOKEN: Final = "token"  # noqa: S105  # a name, not a secret
"""The subresource of ServiceAccounts that answers with a token."""
SCALE: Final = "scale"
"""The subresource of workloads that is their number of replicas."""
_STREAMS: Final = frozenset({podstreams.EXEC, podstreams.LOG, podstreams.PROXY})
_BODY_TYPES: Final = (JSON, YAML, protobuf.MEDIA)
_decode: Final = msgspec.json.Decoder().decode


class Target(NamedTuple):
    """What a request is about, and who asks; ``name`` is empty for a whole collection."""

    resource: Resource
    namespace: str
    name: str
    subresource: str
    user: User
    rest: str = ""
    """What comes after the subresource, where that is ``proxy``: a path of the Pod's own."""


def target(registry: Registry, path: str, user: User) -> Target | None:
    """The target of ``path``, or ``None`` where no resource is there."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (len(rest) > 3 or rest[2] not in {"status", "finalize"}):
        namespace, rest = rest[1], rest[2:]
    beyond = "/".join(rest[3:]) if rest[2:3] == [podstreams.PROXY] else ""
    rest = rest[:3] if beyond else rest
    if not 1 <= len(rest) <= 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    resource = registry.find(group, version, plural)
    if resource is None or (namespace and not resource.namespaced) or "" in rest:
        return None
    if subresource and subresource not in resource.subresources:
        return None
    return Target(resource, namespace, name, subresource, user, f"/{beyond}")


def verb(method: str, where: Target, *, watch: bool) -> str:
    """The API's verb for ``method``; ``StatusError`` 405 where the resource does not have it."""
    if method in {"GET", "HEAD"}:
        found = "watch" if watch else "get" if where.name else "list"
    else:
        single = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        collection = {"POST": "create", "DELETE": "deletecollection"}
        found = (single if where.name else collection).get(method, "")
    if where.subresource == TOKEN:
        found = "create" if method == "POST" and where.namespace else ""
        if found:
            return found
    if where.subresource in _STREAMS:
        if method == "GET" and where.namespace:
            return "get"
        raise errors.method_not_allowed()
    misplaced = where.resource.namespaced and not where.namespace and found not in {"list", "watch"}
    if (
        found not in where.resource.verbs
        or misplaced
        or (where.subresource and found not in {"get", "patch", "update"})
    ):
        raise errors.method_not_allowed()
    return found


def _loaded_yaml(body: bytes) -> Any:
    try:
        return yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error converting YAML to JSON: yaml: {error}") from error


def decoded(body: bytes, media: str, kind: str) -> Any:
    """A body of ``media``; ``StatusError`` 415 where that is unknown, 400 where it is malformed."""
    if media in {"", JSON}:
        return _parsed(body, f"the object provided is unrecognized (must be of type {kind})")
    if media == YAML:
        return _loaded_yaml(body)
    if media == protobuf.MEDIA:
        return protobuf.decoded(body)
    raise errors.unsupported_media_type(_BODY_TYPES)


def decoded_patch(body: bytes, media: str, resource: Resource) -> Any:
    """A patch of ``media``; ``StatusError`` 415 where the resource takes no such patches, 400 where it is malformed.

    An apply patch is read as JSON first, which most are and which is a hundred times faster.
    """
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if not resource.custom:
        accepted.insert(2, STRATEGIC_MERGE_PATCH)
    if media not in accepted:
        raise errors.unsupported_media_type(accepted)
    if media != APPLY_PATCH:
        return _parsed(body, "error decoding patch")
    try:
        return _decode(body)
    except msgspec.DecodeError:
        return _loaded_yaml(body)


def _parsed(body: bytes, what: str) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.bad_request(f"{what}: json parse error: {error}") from error


def manager(query: Mapping[str, str], user_agent: str) -> str:
    """Who is said to write: the fieldManager, or what the User-Agent begins with."""
    return query.get("fieldManager") or user_agent.partition("/")[0][:128] or "unknown"
