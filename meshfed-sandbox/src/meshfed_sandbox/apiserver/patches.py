"""The patches of the Kubernetes API, as functions from an object and a patch to a new object.

Neither argument is changed. Results share unchanged parts with the original, so treat both as frozen.
"""

from __future__ import annotations

from typing import Any, cast

from meshfed_sandbox.apiserver.patch_errors import (
    MalformedPatchError,
    PatchDoesNotApplyError,
    PatchError,
    PatchNotMergeableError,
)
from meshfed_sandbox.apiserver.patch_strategic import strategic_merge_patch
from meshfed_sandbox.apiserver.schema_check import same
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = [
    "MalformedPatchError",
    "PatchDoesNotApplyError",
    "PatchError",
    "PatchNotMergeableError",
    "json_patch",
    "merge_patch",
    "strategic_merge_patch",
]

_MAX_OPERATIONS = 10_000
_MISSING = object()


def merge_patch(doc: JsonObject, patch: Any) -> JsonObject:
    """Applies a JSON merge patch (RFC 7386).

    Raises:
        MalformedPatchError: the patch is not an object.
    """
    if not isinstance(patch, dict):
        raise MalformedPatchError("Invalid JSON Patch")
    return cast("JsonObject", _merge(doc, patch))


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def json_patch(doc: JsonObject, ops: Any) -> JsonObject:
    """Applies a JSON patch (RFC 6902).

    Raises:
        MalformedPatchError: it is not a list of operations.
        PatchDoesNotApplyError: an operation names what is not there, or a `test` failed; nothing is applied then.
    """
    if not isinstance(ops, list):
        found = {dict: "object", str: "string", bool: "bool"}.get(type(ops), "number")
        into = "Go value of type []handlers.jsonPatchOp"
        raise MalformedPatchError(f"error decoding patch: json: cannot unmarshal {found} into {into}")
    if len(ops) > _MAX_OPERATIONS:
        found = f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(ops)}"
        raise MalformedPatchError(found)
    holder: JsonObject = {"": doc}
    for op in ops:
        if not isinstance(op, dict):
            raise MalformedPatchError("json: cannot unmarshal into Go value of type jsonpatch.Operation")
        _operate(holder, op)
    result = holder[""]
    if not isinstance(result, dict):
        raise PatchDoesNotApplyError("the patched object is not an object any more")
    return result


def _operate(holder: JsonObject, op: JsonObject) -> None:
    kind, path = op.get("op"), op.get("path")
    if not isinstance(path, str):
        raise PatchDoesNotApplyError(f"{kind} operation failed to decode path: missing value")
    match kind:
        case "add":
            _add(holder, path, _value(op), "add")
        case "remove":
            _remove(holder, path, "remove")
        case "replace":
            _replace(holder, path, _value(op))
        case "move":
            value = _get(holder, _from(op), "move")
            _remove(holder, _from(op), "move")
            _add(holder, path, value, "move")
        case "copy":
            _add(holder, path, _get(holder, _from(op), "copy"), "copy")
        case "test":
            _test(holder, path, op.get("value"))
        case _:
            raise PatchDoesNotApplyError(f"Unexpected kind: {kind}")


def _value(op: JsonObject) -> Any:
    if "value" not in op:
        raise PatchDoesNotApplyError("operation, missing value field: missing value")
    return op["value"]


def _from(op: JsonObject) -> str:
    source = op.get("from")
    if not isinstance(source, str):
        raise PatchDoesNotApplyError("operation, missing from field: missing value")
    return source


def _keys(path: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in path.split("/")]


def _parent(holder: JsonObject, path: str, verb: str) -> tuple[Any, str]:
    """The container that `path` ends in, copied on the way from the root so that the original stays as it was."""
    *way, last = _keys(path)
    here: Any = holder
    for key in way:
        if isinstance(here, dict) and isinstance(child := here.get(key), dict | list):
            here[key] = here = child.copy()
        elif isinstance(here, list) and _index(key, here) is not None and isinstance(here[int(key)], dict | list):
            here[int(key)] = here = here[int(key)].copy()
        else:
            raise PatchDoesNotApplyError(
                f'{verb} operation does not apply: doc is missing path: "{path}": missing value'
            )
    return here, last


def _index(key: str, items: list[Any]) -> int | None:
    try:
        index = int(key)
    except ValueError:
        return None
    return index if -len(items) <= index < len(items) else None


def _get(holder: JsonObject, path: str, verb: str) -> Any:
    parent, key = _parent(holder, path, verb)
    if isinstance(parent, dict):
        found = parent.get(key, _MISSING)
    else:
        index = _index(key, parent)
        found = _MISSING if index is None else parent[index]
    if found is _MISSING:
        raise PatchDoesNotApplyError(f"{verb} operation does not apply: doc is missing key: {path}: missing value")
    return found


def _add(holder: JsonObject, path: str, value: Any, verb: str) -> None:
    parent, key = _parent(holder, path, verb)
    if isinstance(parent, dict):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    else:
        try:
            index = int(key)
        except ValueError:
            bad = f"error in {verb} for path: '{path}': value was not a proper array index: '{key}'"
            raise PatchDoesNotApplyError(bad) from None
        if not -len(parent) - 1 <= index <= len(parent):
            bad = (
                f"error in {verb} for path: '{path}': Unable to access invalid index: {index}: invalid index referenced"
            )
            raise PatchDoesNotApplyError(bad)
        parent.insert(index if index >= 0 else index + len(parent) + 1, value)


def _remove(holder: JsonObject, path: str, verb: str) -> None:
    parent, key = _parent(holder, path, verb)
    if isinstance(parent, dict):
        if key not in parent:
            gone = f"error in {verb} for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
            raise PatchDoesNotApplyError(gone)
        del parent[key]
    else:
        index = _index(key, parent)
        if index is None:
            bad = f"error in {verb} for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
            raise PatchDoesNotApplyError(bad)
        del parent[index]


def _replace(holder: JsonObject, path: str, value: Any) -> None:
    parent, key = _parent(holder, path, "replace")
    if isinstance(parent, dict):
        # The real server also "replaces" a key that is not there; clients have come to rely on it.
        parent[key] = value
        return
    index = _index(key, parent)
    if index is None:
        raise PatchDoesNotApplyError(f"replace operation does not apply: doc is missing key: {path}: missing value")
    parent[index] = value


def _test(holder: JsonObject, path: str, expected: Any) -> None:
    parent, key = _parent(holder, path, "test")
    if isinstance(parent, dict):
        found = parent.get(key)
    else:
        index = _index(key, parent)
        if index is None:
            bad = f"error in test for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
            raise PatchDoesNotApplyError(bad)
        found = parent[index]
    if not same(found, expected):
        raise PatchDoesNotApplyError(f"testing value {path} failed: test failed")
