"""Objects as they come in: whether they are what the URL says, and which of their fields the server knows."""

from __future__ import annotations

from typing import Any

from meshfed_sandbox.apiserver import errors, metadata
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Key

JSONObject = dict[str, Any]


def accepted(resource: Resource, namespace: str, obj: Any, validation: str) -> tuple[str, ...]:
    """Check that ``obj`` is an object of ``resource``, and drop in place what the resource does not know.

    Returns a warning for each field that was dropped, unless ``validation`` is ``Ignore``; with ``Strict`` one such
    field is a ``StatusError`` 400, as is whatever else could not be decoded into the resource's type.
    """
    if not isinstance(obj, dict):
        raise errors.bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    _check_type(resource, obj)
    meta = obj["metadata"] = obj.get("metadata") or {}
    cannot = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    if not isinstance(meta, dict):
        raise errors.bad_request(cannot + "json: cannot unmarshal into Go struct field metadata of type ObjectMeta")
    paths = resource.schema.prune(obj)
    mistyped = metadata.normalise(meta)
    if mistyped:
        raise errors.bad_request(cannot + mistyped)
    given = meta.get("namespace", "")
    if given and given != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if namespace:
        meta["namespace"] = namespace
    problems = tuple(f'unknown field "{path}"' for path in paths)
    if problems and validation == "Strict":
        raise errors.bad_request(f"{cannot}strict decoding error: {', '.join(problems)}")
    return () if validation == "Ignore" else problems


def _check_type(resource: Resource, obj: JSONObject) -> None:
    kind, api_version = obj.get("kind"), obj.get("apiVersion")
    if resource.custom and not kind:
        raise errors.bad_request("Object 'Kind' is missing in the object provided")
    if kind and kind != resource.kind:
        raise errors.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f'no kind "{kind}" is registered for version "{resource.api_version}"'
        )
    if api_version and api_version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    obj["kind"], obj["apiVersion"] = resource.kind, resource.api_version


def check_name(key: Key, meta: JSONObject) -> None:
    """Give what has no name the one in the URL; ``StatusError`` 400 where it has another."""
    name = meta.setdefault("name", key.name)
    if name != key.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({key.name})")
