"""Strategic merge patch: a merge patch that knows which lists are keyed.

`kubectl apply`, `edit` and `patch` send it for built-in kinds. A list whose schema names a merge key is merged item
by item; directives in the patch delete (`$patch: delete`), replace (`$patch: replace`), keep (`$retainKeys`) or order
(`$setElementOrder/<list>`) what plain merging cannot express. Lists without a merge key are replaced.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from meshfed_sandbox.apiserver.causes import go_print
from meshfed_sandbox.apiserver.patch_errors import MalformedPatchError, PatchNotMergeableError
from meshfed_sandbox.apiserver.schema_node import JsonObject, Node

if TYPE_CHECKING:
    from meshfed_sandbox.apiserver.schema import Schema

__all__ = ["strategic_merge_patch"]

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_WRONG_ORDER = "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n"


def strategic_merge_patch(doc: JsonObject, patch: JsonObject, schema: Schema) -> JsonObject:
    """Applies a strategic merge patch to an object of the kind `schema` describes.

    Raises:
        MalformedPatchError: a directive is not of the form it must have.
        PatchNotMergeableError: the patch contradicts itself or the schema, such as an item without its merge key.
    """
    if not isinstance(patch, dict):
        raise MalformedPatchError("error decoding patch: the patch is not an object")
    return _merge_map(doc, patch, schema.node)


def _merge_map(original: JsonObject, patch: JsonObject, node: Node | None) -> JsonObject:
    match patch.get(_DIRECTIVE):
        case None:
            pass
        case "replace":
            return {key: value for key, value in patch.items() if key != _DIRECTIVE}
        case "delete":
            return {}
        case directive:
            raise PatchNotMergeableError(f"unknown patch type: {directive} in map: {go_print(patch)}")
    merged = _retained(original, patch)
    for key, value in patch.items():
        if key == _RETAIN or key.startswith((_ORDER, _DELETE)):
            continue
        kept = _merge_value(merged.get(key), value, node.child(key) if node else None)
        if kept is _GONE:
            merged.pop(key, None)
        else:
            merged[key] = kept
    _obey_list_directives(original, patch, merged, node)
    return merged


def _merge_value(original: Any, value: Any, node: Node | None) -> Any:
    if value is None:
        return _GONE
    if isinstance(value, dict) and isinstance(original, dict) and not _replaces(node):
        return _merge_map(original, value, node)
    if isinstance(value, list) and isinstance(original, list) and node and node.merge_lists:
        return _merge_list(original, value, node)
    return _without_directives(value)


def _obey_list_directives(original: JsonObject, patch: JsonObject, merged: JsonObject, node: Node | None) -> None:
    """Deletions from lists of scalars, and then the order of lists; in place."""
    for key, value in patch.items():
        name = key.partition("/")[2]
        if key.startswith(_DELETE) and isinstance(merged.get(name), list):
            gone = _list(value, "invalid patch format of primitive list")
            merged[name] = [item for item in merged[name] if item not in gone]
    for key, value in patch.items():
        if not key.startswith(_ORDER):
            continue
        if not isinstance(value, list):
            raise PatchNotMergeableError(f"expected a []interface {{}}, but received a {_go_type(value)}")
        name = key.partition("/")[2]
        if isinstance(merged.get(name), list):
            child = node.child(name) if node else None
            merge_key = child.merge_key if child else ""
            _check_order(patch.get(name), value, merge_key)
            merged[name] = _ordered(merged[name], value, original.get(name) or [], merge_key)


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "int64", float: "float64", dict: "map[string]interface {}"}
    return names.get(type(value), "nil")


def _replaces(node: Node | None) -> bool:
    return node is not None and node.raw.get("x-kubernetes-patch-strategy") == "replace"


def _list(value: Any, complaint: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedPatchError(complaint)
    return value


def _retained(original: JsonObject, patch: JsonObject) -> JsonObject:
    if _RETAIN not in patch:
        return dict(original)
    keep = _list(patch[_RETAIN], "invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and key != _RETAIN and not key.startswith((_ORDER, _DELETE)) and key not in keep:
            raise MalformedPatchError("invalid patch format of retainKeys")
    return {key: value for key, value in original.items() if key in keep}


def _merge_list(original: list[Any], patch: list[Any], node: Node) -> list[Any]:
    if not original and not patch:
        return original
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        merged = original + [item for item in dict.fromkeys(patch) if item not in original]
        return _ordered(merged, patch, original, "")
    key = node.merge_key
    if not key:
        raise PatchNotMergeableError("cannot merge lists without merge key")
    kept, wanted = _obey_directives(original, patch, key)
    merged = list(kept)
    for item in wanted:
        at = _find(merged, item, key)
        if at < 0:
            merged.append(_without_directives(item))
        else:
            merged[at] = _merge_map(merged[at], item, node.items)
    return _ordered(merged, wanted, kept, key)


def _obey_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """What is left of the original, and what is to be merged into it."""
    kept, wanted, replace = list(original), [], False
    for item in patch:
        match item.get(_DIRECTIVE) if isinstance(item, dict) else None:
            case None:
                wanted.append(item)
            case "delete":
                gone = _key_of(item, key)
                kept = [k for k in kept if not (isinstance(k, dict) and k.get(key) == gone)]
            case "replace":
                replace = True
            case "merge":
                raise PatchNotMergeableError("merging lists cannot yet be specified in the patch")
            case directive:
                raise PatchNotMergeableError(f"unknown patch type: {directive} in map: {go_print(item)}")
    return ([], wanted) if replace else (kept, wanted)


def _key_of(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise PatchNotMergeableError(f"map: {go_print(item)} does not contain declared merge key: {key}")
    return item[key]


def _find(items: list[Any], item: Any, key: str) -> int:
    value = _key_of(item, key) if key else item
    for index, other in enumerate(items):
        if (other.get(key) if key and isinstance(other, dict) else other) == value:
            return index
    return -1


def _check_order(patch: Any, order: list[Any], key: str) -> None:
    """Every item of the patch must be in the order that comes with it, in that order."""
    if not patch or not order or not isinstance(patch, list):
        return
    rest = iter(order)
    for item in patch:
        if isinstance(item, dict) and _DIRECTIVE in item:
            continue
        if not any(
            (o.get(key) == item.get(key)) if isinstance(o, dict) and isinstance(item, dict) else o == item for o in rest
        ):
            shown = go_print(patch), go_print(order)
            raise PatchNotMergeableError(_WRONG_ORDER.format(*shown))


def _ordered(merged: list[Any], order: list[Any], live: list[Any], key: str) -> list[Any]:
    """Items the patch names in its order, the others in theirs, interleaved by where they were in the live object."""
    if key:
        for item in merged:
            _key_of(item, key)
    named = [item for item in merged if _find(order, item, key) >= 0]
    others = [item for item in merged if _find(order, item, key) < 0]
    named.sort(key=cmp_to_key(lambda a, b: _find(order, a, key) - _find(order, b, key)))
    result: list[Any] = []
    for item in named:
        at = _find(live, item, key)
        while others and at >= 0 and 0 <= _find(live, others[0], key) < at:
            result.append(others.pop(0))
        result.append(item)
    return result + others


_GONE = object()


def _without_directives(value: Any) -> Any:
    """A value taken over as it is: nulls and directives mean nothing where there is nothing to merge with."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return _GONE
        directives = (_RETAIN, _ORDER, _DELETE)
        kept = {k: _without_directives(v) for k, v in value.items() if v is not None and not k.startswith(directives)}
        return {k: v for k, v in kept.items() if v is not _GONE}
    if isinstance(value, list):
        return [kept for item in value if (kept := _without_directives(item)) is not _GONE]
    return value
